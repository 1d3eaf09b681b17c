"""What is trained of SmolLM2: two thin matrices for each linear layer, and the embeddings of `<think>` and `</think>`.

`adapt` puts them into a model that `psychechat.demo.smollm2.prepare` wrote; `save` writes what `prepare` merges.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaForCausalLM

from models.adapter import LowRank
from psychechat.demo.smollm2 import ADAPTER_FORMAT, LINEARS, ROWS, THINK_IDS

RANK = 16


class Embedding(nn.Module):
    """A frozen embedding of which some rows are trained in copies of their own. They begin as they are."""

    def __init__(self, base: nn.Embedding, ids: tuple[int, ...]) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.ids = nn.Buffer(torch.tensor(ids), persistent=False)
        self.rows = nn.Parameter(base.weight[list(ids)].detach().float())
        """[ids, hidden]"""

    def forward(self, tokens: Tensor) -> Tensor:
        found = tokens.unsqueeze(-1) == self.ids
        plain = self.base(tokens)
        own = (found.to(self.rows.dtype) @ self.rows).to(plain.dtype)
        return torch.where(found.any(-1, keepdim=True), own, plain)


class Head(nn.Module):
    """Scores of all tokens by the same embedding, whose gradient is computed for the trained rows alone."""

    def __init__(self, embedding: Embedding) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(self, hidden: Tensor) -> Tensor:
        scores = functional.linear(hidden, self.embedding.base.weight)
        own = functional.linear(hidden, self.embedding.rows.to(hidden.dtype))
        return scores.index_copy_(-1, self.embedding.ids, own)


def adapt(model: LlamaForCausalLM, rank: int = RANK) -> LlamaForCausalLM:
    """Changes the model in place, so that only the adapter has gradients; what it computes is the same at first.

    `down` is drawn from torch's generator. What is trained is float32, whatever the model is in.
    """
    model.requires_grad_(False)
    for layer in model.model.layers:
        for name in LINEARS:
            linear = layer.get_submodule(name)
            assert isinstance(linear, nn.Linear)
            layer.set_submodule(name, LowRank(linear, rank))
    embedding = Embedding(model.model.embed_tokens, THINK_IDS)
    model.model.embed_tokens = embedding
    model.lm_head = Head(embedding)
    return model


def trained(model: LlamaForCausalLM) -> dict[str, nn.Parameter]:
    """The parameters of the adapter under their names in its file. For an adapted model."""
    return dict(_named(model))


def save(model: LlamaForCausalLM, file: Path) -> None:
    """Writes the adapter of an adapted model, in fp16. Raises ValueError if a number of it is not finite there."""
    tensors = {name: parameter.detach().half().contiguous() for name, parameter in _named(model)}
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise ValueError("the adapter holds numbers that fp16 does not")
    told = json.dumps({"rows": list(THINK_IDS), "format": ADAPTER_FORMAT})
    save_file(tensors, file, metadata={"psychechat": told})


def load(model: LlamaForCausalLM, file: Path) -> None:
    """Puts a written adapter into an adapted model. Raises ValueError if it is none of this model and rank."""
    with safe_open(file, framework="pt") as opened:
        told = json.loads((opened.metadata() or {}).get("psychechat", "{}"))
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    if told != {"rows": list(THINK_IDS), "format": ADAPTER_FORMAT}:
        raise ValueError(f"{file.name} is no adapter of format {ADAPTER_FORMAT} for these rows")
    parameters = trained(model)
    if {name: tensor.shape for name, tensor in tensors.items()} != {n: p.shape for n, p in parameters.items()}:
        raise ValueError(f"{file.name} was trained for another model, or with another rank")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


def _named(model: LlamaForCausalLM) -> Iterator[tuple[str, nn.Parameter]]:
    for number, layer in enumerate(model.model.layers):
        for name in LINEARS:
            linear = layer.get_submodule(name)
            assert isinstance(linear, LowRank)
            yield f"model.layers.{number}.{name}.up", linear.up
            yield f"model.layers.{number}.{name}.down", linear.down
    embedding = model.model.embed_tokens
    assert isinstance(embedding, Embedding)
    yield ROWS, embedding.rows
