"""The shape of nano: a Qwen3 small enough for one CPU core, and the folder it is written to."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM
from transformers.tokenization_utils_tokenizers import TokenizersBackend

from models.counselor import induction

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "serving" / "psychechat" / "demo" / "counselor"
"""Where the exported model lives: package data of the server."""
RUNS = ROOT / "models" / "runs" / "counselor"
"""Checkpoints and logs; git ignores them."""
RESULTS = ROOT / "models" / "results" / "counselor.json"
"""What `evaluate` measured."""
TEMPLATE = Path(__file__).with_name("chat_template.jinja")

VOCABULARY = 8192
CONTEXT = 8192


def config(tokenizer: TokenizersBackend) -> Qwen3Config:
    """About 6 M parameters. Embeddings are tied: at this size a second matrix would be a quarter of the model."""
    return Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def initial(tokenizer: TokenizersBackend, seed: int) -> Qwen3ForCausalLM:
    """Random weights in fp32; what writes into the residual stream starts smaller, as deep stacks like it."""
    torch.manual_seed(seed)
    model: Qwen3ForCausalLM = Qwen3ForCausalLM(config(tokenizer))  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.mul_((2 * model.config.num_hidden_layers) ** -0.5)
        model.model.embed_tokens.weight.mul_(model.config.hidden_size**-0.5 / model.config.initializer_range)
        induction.start(model)
    return model


def export(model: Qwen3ForCausalLM, tokenizer: TokenizersBackend, folder: Path) -> None:
    """Write an ordinary Hugging Face folder, weights in bf16. The model handed in is left as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    make: Any = Qwen3ForCausalLM._from_config
    shipped = make(model.config, dtype=torch.bfloat16)
    shipped.load_state_dict({name: tensor.to(torch.bfloat16) for name, tensor in model.state_dict().items()})
    shipped.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        eos_token_id=[model.config.eos_token_id, model.config.pad_token_id],
        pad_token_id=model.config.pad_token_id,
        do_sample=True,
        temperature=0.7,
        top_p=0.9,
    )
    shipped.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _plain_class_name(folder / "tokenizer_config.json")
    for file in folder.iterdir():
        file.chmod(0o644)


def _plain_class_name(file: Path) -> None:
    """transformers 5 writes a class name that older readers do not know; the older name is read by all."""
    settings = json.loads(file.read_text(encoding="utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
