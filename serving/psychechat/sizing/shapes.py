"""A model's shape: what its `config.json` says that sizes follow from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3")
"""Decoders with a gated MLP, of which every layer attends to all tokens."""


class UnknownShape(Exception):
    """The model is not found, or not one of those that are reckoned. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder's dimensions."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    max_positions: int
    """The longest context that the model was made for, in tokens."""
    tied: bool
    """Whether one matrix is both embedding and output."""
    qkv_bias: bool
    other_bias: bool
    """Of the attention's output projection."""
    mlp_bias: bool
    qk_norm: bool
    linear_bits: int
    """Of a weight in the layers' matrices as the checkpoint has them; embeddings and norms have 16."""

    @property
    def linear_parameters(self) -> int:
        """In the layers' matrices, which quantization makes smaller."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = self.hidden * (queries + 2 * keys) + queries * self.hidden
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def other_parameters(self) -> int:
        """In embeddings, output, biases and norms."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        biases = self.qkv_bias * (queries + 2 * keys) + self.other_bias * self.hidden
        biases += self.mlp_bias * (2 * self.intermediate + self.hidden)
        norms = 2 * self.hidden + self.qk_norm * 2 * self.head_dim
        return self.vocabulary * self.hidden * (1 if self.tied else 2) + self.layers * (biases + norms) + self.hidden

    @property
    def parameters(self) -> int:
        return self.linear_parameters + self.other_parameters


def of(model: str) -> Shape:
    """The shape of a folder with a config.json, of such a file, of a known model, or of one on the hub.

    A known model may be named without its maker, in any case. Raises UnknownShape.
    """
    path = Path(model).expanduser()
    if path.is_dir() or path.suffix == ".json":
        return _read(path / "config.json" if path.is_dir() else path)
    by_name = {name.rpartition("/")[2].casefold(): config for name, config in known().items()}
    by_name |= {name.casefold(): config for name, config in known().items()}
    if config := by_name.get(model.casefold()):
        return parse(config)
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise UnknownShape(
            f"{model} is neither a folder with a config.json nor one of {', '.join(known())}: name one of them, or a "
            "model on the hub as MAKER/MODEL"
        )
    return _read(_downloaded(model))


@cache
def known() -> Mapping[str, Mapping[str, Any]]:
    """The config of each model that comes with the package, by its name on the hub."""
    shapes: dict[str, dict[str, Any]] = yaml.safe_load(files(__package__).joinpath("shapes.yaml").read_text("utf-8"))
    return shapes


def parse(config: Mapping[str, Any]) -> Shape:
    """Raises UnknownShape for a kind of model that is not reckoned, and for a config without its numbers."""
    kind = config.get("model_type")
    if kind not in MODEL_TYPES:
        raise UnknownShape(f"its model_type is {kind!r}, and only {', '.join(MODEL_TYPES)} are reckoned")
    if config.get("sliding_window") and config.get("use_sliding_window", kind == "mistral"):
        raise UnknownShape("it has a sliding window, whose KV memory is not reckoned")
    try:
        heads, hidden = config["num_attention_heads"], config["hidden_size"]
        attention_bias = bool(config.get("attention_bias"))
        return Shape(
            layers=config["num_hidden_layers"],
            hidden=hidden,
            intermediate=config["intermediate_size"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or hidden // heads,
            vocabulary=config["vocab_size"],
            max_positions=config["max_position_embeddings"],
            tied=bool(config.get("tie_word_embeddings")),
            qkv_bias=kind == "qwen2" or attention_bias,
            other_bias=kind != "qwen2" and attention_bias,
            mlp_bias=bool(config.get("mlp_bias")),
            qk_norm=kind == "qwen3",
            linear_bits=_bits(config.get("quantization_config")),
        )
    except KeyError as missing:
        raise UnknownShape(f"its config.json has no {missing.args[0]}") from None


def _bits(quantization: Mapping[str, Any] | None) -> int:
    if not quantization:
        return 16
    method = quantization.get("quant_method")
    if method == "fp8":
        return 8
    if method in ("awq", "gptq") and isinstance(quantization.get("bits"), int):
        return int(quantization["bits"])
    raise UnknownShape(f"its quantization {method!r} is not reckoned: size the model that it was made of")


def _read(file: Path) -> Shape:
    try:
        config = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise UnknownShape(f"{file} cannot be read ({error.strerror}): name a folder with a config.json") from None
    except ValueError:
        raise UnknownShape(f"{file} is no JSON: name a model's folder or its config.json") from None
    if not isinstance(config, Mapping):
        raise UnknownShape(f"{file} is no model's config.json")
    try:
        return parse(config)
    except UnknownShape as error:
        raise UnknownShape(f"{file}: {error}") from None


def _downloaded(model: str) -> Path:
    """The config.json of a model on the hub, from the cache where it is there. Raises UnknownShape."""
    try:
        from huggingface_hub import hf_hub_download  # slow to import, and comes with the engines alone
    except ImportError:
        raise UnknownShape(f"{model} is on the hub, and huggingface_hub is not installed: name a folder") from None
    try:
        return Path(hf_hub_download(model, "config.json"))
    except Exception as error:  # the hub's, the network's, or a name that is none
        raise UnknownShape(
            f"the config.json of {model} is not had from the hub ({type(error).__name__}): name one of "
            f"{', '.join(known())}, or a folder with a config.json"
        ) from None
