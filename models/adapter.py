"""The encoder with a low-rank adapter and the heads: what is trained of the demo classifier."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertModel

from models.heads import Heads, Logits, split
from psychechat.engines.vllm.windows import DRAFT_WIDTHS

_ADAPTED = (
    *("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"),
    *("intermediate.dense", "output.dense"),
)


class LowRank(nn.Module):
    """A frozen linear layer plus `up @ down`, which starts as zero."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        low = functional.linear(x, self.down.to(x.dtype))
        high: Tensor = self.base(x) + functional.linear(low, self.up.to(x.dtype))
        return high


DTYPE = torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32

Span = tuple[int, int]
"""First token and last one of what is read of a row."""


class Adapted(nn.Module):
    """The encoder, each linear of its layers from `first` on adapted; mean pooling and heads in float32.

    The encoder is in bfloat16 where the CPU multiplies that, which elsewhere takes ten times as long as float32.
    """

    def __init__(self, encoder: Path, first: int, rank: int, dropout: float = 0.1) -> None:
        super().__init__()
        # On a CPU the fused attention's backward pass is the slowest part of a step; the plain one is not.
        self.encoder = BertModel.from_pretrained(
            encoder, add_pooling_layer=False, dtype=DTYPE, attn_implementation="eager"
        )
        self.encoder.requires_grad_(False)
        self.first = first
        for layer in self.encoder.encoder.layer[first:]:
            for name in _ADAPTED:
                linear = layer.get_submodule(name)
                assert isinstance(linear, nn.Linear)
                layer.set_submodule(name, LowRank(linear, rank))
        self.dropout = nn.Dropout(dropout)
        size = self.encoder.config.hidden_size
        self.mean = nn.Buffer(torch.zeros(size))
        self.spread = nn.Buffer(torch.ones(size))
        self.heads = nn.Linear(size, sum(DRAFT_WIDTHS))
        nn.init.zeros_(self.heads.weight)
        nn.init.zeros_(self.heads.bias)

    def pooled(self, rows: Sequence[Sequence[int]], spans: Sequence[Sequence[Span]], kept: float = 1.0) -> Tensor:
        """[spans of all rows, H]: the mean over each span's tokens, row by row.

        `kept`: the share of the tokens that is seen at all, drawn at random; never none of a span.
        """
        ids, mask = padded(rows)
        if kept < 1.0:
            mask = mask * (torch.rand(mask.shape) < kept)
            for row, own in enumerate(spans):
                for first, last in own:
                    if not mask[row, first : last + 1].any():
                        mask[row, first] = 1
        away = (1 - mask[:, None, None, :]).to(DTYPE) * torch.finfo(DTYPE).min
        hidden = self.encoder.embeddings(input_ids=ids)
        for layer in self.encoder.encoder.layer:
            hidden = layer(hidden, attention_mask=away)
        out = hidden.float() * mask.unsqueeze(-1)
        sums = torch.cat([out.new_zeros(len(rows), 1, out.shape[2]), out.cumsum(1)], 1)
        counts = torch.cat([mask.new_zeros(len(rows), 1), mask.cumsum(1)], 1)
        at = torch.tensor([number for number, own in enumerate(spans) for _ in own])
        begin, end = torch.tensor([(first, last + 1) for own in spans for first, last in own]).T
        size = (counts[at, end] - counts[at, begin]).unsqueeze(1)
        pooled: Tensor = (sums[at, end] - sums[at, begin]) / size
        return pooled

    def forward(self, rows: Sequence[Sequence[int]], spans: Sequence[Sequence[Span]], kept: float = 1.0) -> Logits:
        """Of each span of each row."""
        pooled = (self.pooled(rows, spans, kept) - self.mean) / self.spread
        return split(self.heads(self.dropout(pooled)))

    @torch.inference_mode()
    def standardise(self, rows: Sequence[Sequence[int]]) -> None:
        """Lets the heads see each coordinate with the mean 0 and the spread 1 that it now has on these texts.

        e5's vectors lie in a narrow cone: as they are, the heads would learn slowly.
        """
        self.train(False)
        ordered = sorted(rows, key=len)
        batches = (ordered[i : i + 32] for i in range(0, len(ordered), 32))
        pooled = torch.cat([self.pooled(batch, [[(0, len(row) - 1)] for row in batch]) for batch in batches])
        self.mean.copy_(pooled.mean(0))
        self.spread.copy_(pooled.std(0))

    def resume(self, file: Path, rows: Sequence[Sequence[int]]) -> None:
        """Goes on from trained heads and their adapter. `rows`: as those of `standardise`."""
        tensors = load_file(file)
        self._adapt(tensors, share=1.0)
        self.standardise(rows)
        self._head(_trained_here(tensors))

    def blend(self, file: Path, share: float) -> None:
        """Lets every weight be `share` of what it is in that file and the rest of what it is now.

        Both must come from one earlier state. What two trainings learned by heart then weighs less than what both
        learned (Wortsman and others, "Model soups", 2022).
        """
        tensors = load_file(file)
        own, other = self.linear(), _trained_here(tensors)
        self._adapt(tensors, share)
        self._head(Heads(own.weight.lerp(other.weight, share), own.bias.lerp(other.bias, share)))

    def _adapt(self, tensors: Mapping[str, Tensor], share: float) -> None:
        for name, module in self.encoder.named_modules():
            if isinstance(module, LowRank):
                module.down.data.lerp_(tensors[f"{name}.down"].float(), share)
                module.up.data.lerp_(tensors[f"{name}.up"].float(), share)

    def _head(self, heads: Heads) -> None:
        """Heads for vectors as they are."""
        self.heads.weight.data.copy_(heads.weight * self.spread)
        self.heads.bias.data.copy_(heads.bias + heads.weight @ self.mean)

    def trained(self) -> dict[str, Tensor]:
        """The parameters that are trained, by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def learned(self) -> dict[str, Tensor]:
        """What is trained and what `standardise` found: all that a checkpoint needs."""
        return self.trained() | {"mean": self.mean, "spread": self.spread}

    def low_rank(self) -> dict[str, Tensor]:
        """`up` and `down` of every adapted layer under the layer's name in the whole encoder, fp16."""
        tensors = {}
        for number, layer in enumerate(self.encoder.encoder.layer):
            for name in _ADAPTED if number >= self.first else ():
                module = layer.get_submodule(name)
                for part in ("up", "down"):
                    tensors[f"encoder.layer.{number}.{name}.{part}"] = getattr(module, part).detach().half()
        return tensors

    def linear(self) -> Heads:
        """The heads for vectors as they are: what `standardise` does is folded in."""
        weight = self.heads.weight.detach() / self.spread
        return Heads(weight, self.heads.bias.detach() - weight @ self.mean)


def _trained_here(tensors: Mapping[str, Tensor]) -> Heads:
    """Without the heads that are fitted on what these leave."""
    columns = sum(DRAFT_WIDTHS)
    return Heads(tensors["weight"][:columns], tensors["bias"][:columns])


def padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, both [rows, longest]."""
    length = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (length - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    return ids, mask
