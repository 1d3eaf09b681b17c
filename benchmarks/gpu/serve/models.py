"""Folders of models with Qwen3's shapes: a config, a tokenizer, a chat template, and no weights.

vLLM makes random weights itself (`load_format: dummy`), the same for all servers in size and in what they cost. They
draw nearly evenly from all tokens, so lengths are the tokenizer's to decide. It is the demo counselor's, made as large
as Qwen3's: the tokens beyond are two of the demo's in one, which no text is cut into. One in `CLOSING` of them
ends with a quotation mark: in a stage's JSON strings end after some twenty-five tokens, as they do with a model that
has something to say, and not at their bounds.
"""

import json
import random
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmarks.gpu.job import Job

CLOSING = 25
SHAPES: dict[str, dict[str, Any]] = {
    "0.6B": {
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "tie_word_embeddings": True,
    },
    "8B": {
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "tie_word_embeddings": False,
    },
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "vocab_size": 16384,
        "tie_word_embeddings": False,
    },
}
_COMMON: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151_936,
    "max_position_embeddings": 40_960,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "sliding_window": None,
    "use_sliding_window": False,
    "dtype": "bfloat16",
    "bos_token_id": None,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- if enable_thinking is defined and not enable_thinking -%}{{- '<think>\\n\\n</think>\\n\\n' -}}{%- endif -%}
{%- endif -%}
"""


def run(job: Job) -> None:
    """One folder a shape, beside the results."""
    for name in ("tiny",) if job.rehearse else ("0.6B", "8B"):
        folder = folder_of(job.out, name)
        write(folder, name)
        job.page.append(
            "models", {"name": name, "parameters": parameters(config(name)), "weights": "load_format dummy"}
        )
    job.page.put(tokenizer="the demo counselor's, made as large as the model's by pairs of its tokens")


def folder_of(out: Path, name: str) -> Path:
    return out.resolve() / "models" / name


def config(name: str) -> dict[str, Any]:
    return _COMMON | SHAPES[name]


def write(folder: Path, name: str) -> None:
    """Raises FileNotFoundError without the package's demo counselor."""
    folder.mkdir(parents=True, exist_ok=True)
    demo, shape = files("psychechat") / "demo" / "counselor", config(name)
    (folder / "config.json").write_text(json.dumps(shape, indent=1), "utf-8")
    told = json.loads((demo / "tokenizer_config.json").read_text("utf-8"))
    told |= {"model_max_length": shape["max_position_embeddings"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(told), "utf-8")
    grown = tokenizer(json.loads((demo / "tokenizer.json").read_text("utf-8")), shape["vocab_size"])
    (folder / "tokenizer.json").write_text(json.dumps(grown, ensure_ascii=False), "utf-8")
    (folder / "chat_template.jinja").write_text(_TEMPLATE, "utf-8")


def tokenizer(demo: dict[str, Any], size: int) -> dict[str, Any]:
    """The demo's with so many tokens. Texts are cut as before: no merge makes one of the new."""
    vocabulary: dict[str, int] = dict(demo["model"]["vocab"])
    vocabulary |= {token["content"]: token["id"] for token in demo["added_tokens"]}
    words = [token for token in vocabulary if re.fullmatch("Ġ?[a-z]{2,}", token)]
    bare = [word for word in words if word[0] != "Ġ"]
    chance = random.Random(0)
    while len(vocabulary) < size:
        token = chance.choice(words) + chance.choice(bare)
        if len(vocabulary) % CLOSING == 0:
            token += '"'
        vocabulary.setdefault(token, len(vocabulary))
    return demo | {"model": demo["model"] | {"vocab": vocabulary}}


def parameters(shape: dict[str, Any]) -> int:
    """How many weights a model of this shape has."""
    hidden, dim, kv = shape["hidden_size"], shape["head_dim"], shape["num_key_value_heads"]
    heads = shape["num_attention_heads"]
    attention = 2 * hidden * heads * dim + 2 * hidden * kv * dim + 2 * dim
    layer = attention + 3 * hidden * shape["intermediate_size"] + 2 * hidden
    embeddings = shape["vocab_size"] * hidden * (1 if shape["tie_word_embeddings"] else 2)
    return int(embeddings + shape["num_hidden_layers"] * layer + hidden)
