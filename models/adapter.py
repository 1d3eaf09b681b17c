"""The upper layers of the encoder with a low-rank adapter and the heads: what is trained of the demo classifier."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertModel

from models.data import GROUPS
from models.heads import EMOTION_COLUMNS, WIDTHS, Heads

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


class Upper(nn.Module):
    """Layers `first` and up in bfloat16, each linear adapted; mean pooling and the heads in float32."""

    def __init__(self, encoder: Path, first: int, rank: int, dropout: float = 0.1) -> None:
        super().__init__()
        # On a CPU the fused attention's backward pass is the slowest part of a step; the plain one is not.
        model = BertModel.from_pretrained(
            encoder, add_pooling_layer=False, dtype=torch.bfloat16, attn_implementation="eager"
        )
        model.requires_grad_(False)
        self.first = first
        model.encoder.layer = model.encoder.layer[first:]
        self.encoder = model.encoder
        self.encoder.train(False)
        for layer in self.encoder.layer:
            for name in _ADAPTED:
                linear = layer.get_submodule(name)
                assert isinstance(linear, nn.Linear)
                layer.set_submodule(name, LowRank(linear, rank))
        self.dropout = nn.Dropout(dropout)
        self.mean = nn.Buffer(torch.zeros(model.config.hidden_size))
        self.spread = nn.Buffer(torch.ones(model.config.hidden_size))
        self.heads = nn.Linear(model.config.hidden_size, sum(WIDTHS))
        nn.init.zeros_(self.heads.weight)
        nn.init.zeros_(self.heads.bias)

    def train(self, mode: bool = True) -> "Upper":
        super().train(mode)
        self.encoder.train(False)  # its own dropout stays off: the adapter is small, and the rest is frozen
        return self

    def pooled(self, states: Sequence[Tensor]) -> Tensor:
        """[texts, H] from the lower layers' states of each text, [tokens, H]."""
        lengths = torch.tensor([len(text) for text in states])
        hidden = states[0].new_zeros(len(states), int(lengths.max()), states[0].shape[1])
        for row, text in zip(hidden, states, strict=True):
            row[: len(text)] = text
        mask = (torch.arange(hidden.shape[1]) < lengths.unsqueeze(1)).unsqueeze(-1)
        away = (1.0 - mask.squeeze(-1)[:, None, None, :].to(hidden.dtype)) * torch.finfo(hidden.dtype).min
        out = self.encoder(hidden, attention_mask=away).last_hidden_state
        mean: Tensor = (out.float() * mask).sum(1) / lengths.unsqueeze(1)
        return mean

    def forward(self, states: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits: emotion [texts, 8, 4], risk [texts, 5]."""
        flat = self.heads(self.dropout((self.pooled(states) - self.mean) / self.spread))
        return flat[:, :EMOTION_COLUMNS].reshape(-1, len(GROUPS), 4), flat[:, EMOTION_COLUMNS:]

    @torch.inference_mode()
    def standardise(self, states: Sequence[Tensor]) -> None:
        """Lets the heads see each coordinate with the mean 0 and the spread 1 that it now has on these texts.

        e5's vectors lie in a narrow cone: as they are, the heads would learn slowly.
        """
        ordered = sorted(states, key=len)
        pooled = torch.cat([self.pooled(ordered[i : i + 32]) for i in range(0, len(ordered), 32)])
        self.mean.copy_(pooled.mean(0))
        self.spread.copy_(pooled.std(0))

    def trained(self) -> dict[str, Tensor]:
        """The parameters that are trained, by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def learned(self) -> dict[str, Tensor]:
        """What is trained and what `standardise` found: all that a checkpoint needs."""
        return self.trained() | {"mean": self.mean, "spread": self.spread}

    def low_rank(self) -> dict[str, Tensor]:
        """`up` and `down` of every adapted layer under the layer's name in the whole encoder, fp16."""
        tensors = {}
        for number, layer in enumerate(self.encoder.layer, start=self.first):
            for name in _ADAPTED:
                module = layer.get_submodule(name)
                for part in ("up", "down"):
                    tensors[f"encoder.layer.{number}.{name}.{part}"] = getattr(module, part).detach().half()
        return tensors

    def linear(self) -> Heads:
        """The heads for vectors as they are: what `standardise` does is folded in."""
        weight = self.heads.weight.detach() / self.spread
        return Heads(weight, self.heads.bias.detach() - weight @ self.mean)
