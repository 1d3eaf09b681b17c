"""Random models of a few thousand parameters, saved as Hugging Face folders."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ["<s>", "</s>", "<unk>", "good", "bad", "dark", "noon", *(f"w{i}" for i in range(57))]
HIDDEN = 64
trained = pytest.mark.reads(
    *("models", "tests/models", "serving/psychechat/demo", "serving/psychechat/engines/vllm", "requirements-cpu.lock")
)
"""Marks a test that trains one: seconds each."""


def bert(folder: Path) -> Path:
    from transformers import BertConfig, BertModel

    config: Any = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=HIDDEN,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=512,
    )
    return _save(BertModel, config, folder, "<s> $A </s>")


def qwen3(folder: Path) -> Path:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config: Any = Qwen3Config(
        vocab_size=len(WORDS),
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        intermediate_size=48,
        max_position_embeddings=512,
    )
    return _save(Qwen3ForCausalLM, config, folder, "$A")


def _save(kind: Any, config: Any, folder: Path, template: str) -> Path:
    torch.manual_seed(0)
    model = kind(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)  # else all texts would have much the same vector
    model.save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[("<s>", 0), ("</s>", 1)] if "<s>" in template else []
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
