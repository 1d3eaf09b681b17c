"""Any encoder or decoder that vLLM can pool, with the fused heads in its pooler's place.

A model folder asks for it by its `config.json`: an architecture of vLLM's with PREFIX before its name, such as
`PsychechatBertModel` or `PsychechatQwen3ForCausalLM`, and under `psychechat` the widths of the heads' groups and the
pooling. The head tensors are `heads.weight` [columns, H] and `heads.bias` [columns] among the weights.
"""

from collections.abc import Iterable, Iterator, Sequence, Set
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from vllm import ModelRegistry
from vllm.config import PoolerConfig, VllmConfig
from vllm.model_executor.layers.pooler import Pooler
from vllm.model_executor.models.adapters import as_embedding_model
from vllm.tasks import PoolingTask
from vllm.v1.pool.metadata import PoolingMetadata

from psychechat.engines.vllm.cpu import half_products
from psychechat.engines.vllm.plugin import PREFIX
from psychechat_kernels.fused_heads import Pooling, fused_heads, new_workspace, uses_kernel, warm_up

_HEADS = "heads."
_SPANS = "psychechat_spans"
_VLLM_POOLING: dict[Pooling, Any] = {"mean": "MEAN", "first": "CLS", "last": "LAST"}


def pooler_config(pooling: Pooling) -> PoolerConfig:
    """What vLLM must be told, so that it neither chunks nor caches prompts where pooling needs all their tokens."""
    return PoolerConfig(seq_pooling_type=_VLLM_POOLING[pooling])


Span = tuple[int, int]
"""First and last token of a part of a sequence, counted from its beginning."""


def spans_of(ranges: Sequence[Span]) -> dict[str, list[Span]]:
    """For `PoolingParams.extra_kwargs`: parts of the sequence, in their order and not overlapping, to be read too."""
    return {_SPANS: list(ranges)}


class FusedHeads(Pooler):
    """Packed hidden states to calibrated probabilities: of each sequence, and with mean pooling of parts of it."""

    def __init__(self, hidden_size: int, groups: Sequence[int], pooling: Pooling) -> None:
        super().__init__()
        self.groups = tuple(groups)
        self.pooling: Pooling = pooling
        # fp32 whatever the encoder runs in: the heads are small, and their temperatures make them steep.
        columns = sum(self.groups)
        self.weight = nn.Parameter(torch.empty(columns, hidden_size, dtype=torch.float32), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(columns, dtype=torch.float32), requires_grad=False)
        self._workspaces: dict[tuple[torch.device, int], Tensor] = {}

    def get_supported_tasks(self) -> Set[PoolingTask]:
        return {"classify"}

    def forward(self, hidden_states: Tensor, pooling_metadata: PoolingMetadata) -> Tensor:
        """[tokens, H] to [sequences, columns]; where spans are asked for, to [sequences, 1 + spans, columns]: each
        sequence's own row, then one for each of its spans.

        A sequence with fewer spans than another repeats its own row: as one tensor they leave the device in one copy.
        Without any, each sequence's result is one row, which is what vLLM's own server answers `/classify` with.

        Raises RuntimeError if a token that pooling needs is not there: a sequence arrived in part. The last token is
        there in any case, and of a sequence that is not at its end yet vLLM drops the row.
        """
        cursor = pooling_metadata.get_pooling_cursor()
        if self.pooling != "last" and cursor.is_partial_prefill():
            raise RuntimeError(
                f"{self.pooling} pooling needs whole sequences: chunked prefill and prefix caching must be off"
            )
        lengths = cursor.num_scheduled_tokens_cpu
        rows = self._read(hidden_states, cursor.first_token_indices_gpu, cursor.last_token_indices_gpu, lengths)
        spans = [(params.extra_kwargs or {}).get(_SPANS, ()) for params in pooling_metadata.pooling_params]
        if self.pooling != "mean" or not any(spans):
            return rows
        begins = (lengths.cumsum(0) - lengths).tolist()
        at = [(begin + a, begin + b) for begin, own in zip(begins, spans, strict=True) for a, b in own]
        starts, ends = torch.tensor(at, dtype=torch.int32).T.contiguous()
        # Sequences are read first and their spans then, since what one launch reads may not overlap.
        device = hidden_states.device
        parts = self._read(hidden_states, starts.to(device), ends.to(device), ends - starts + 1)
        return torch.cat([rows, parts])[_places([len(own) for own in spans]).to(device)]

    def _read(self, hidden_states: Tensor, starts: Tensor, ends: Tensor, lengths: Tensor) -> Tensor:
        """One row a range of tokens. `lengths` is on the host."""
        return fused_heads(
            hidden_states,
            starts,
            ends,
            self.weight,
            self.bias,
            self.groups,
            self.pooling,
            max_len=int(lengths.max()) if len(lengths) else 0,
            # `out` is a new tensor each time: vLLM copies it to the host on a stream of its own, at its own time.
            workspace=self._workspace(hidden_states) if uses_kernel(len(self.bias), hidden_states.device) else None,
        )

    def _workspace(self, hidden: Tensor) -> Tensor:
        """The kernel's scratch memory, one a device and stream. The first call for each, vLLM's own, compiles."""
        place = (hidden.device, torch.cuda.current_stream(hidden.device).cuda_stream)
        if place not in self._workspaces:
            self._workspaces[place] = new_workspace(len(self.bias), hidden.device)
            warm_up(self.weight, self.bias, self.groups, self.pooling, hidden.dtype, self._workspaces[place])
        return self._workspaces[place]


def _places(counts: Sequence[int]) -> Tensor:
    """[sequences, 1 + most spans]: of each sequence the row of its own, then those of its spans, which follow all
    sequences' rows in one list. Rows beyond its spans are its own once more.
    """
    most = max(counts)
    first = len(counts)
    places = []
    for row, count in enumerate(counts):
        places.append([row, *range(first, first + count), *[row] * (most - count)])
        first += count
    return torch.tensor(places)


@cache
def with_fused_heads(architecture: str) -> type[nn.Module]:
    """The class of one of vLLM's architectures, its pooler replaced by `FusedHeads`. Raises KeyError if unknown.

    The class's constructor raises ValueError if vLLM was not told how the heads pool: see `pooler_config`.
    """
    base = as_embedding_model(ModelRegistry.models[architecture].load_model_cls())

    class WithFusedHeads(base):  # type: ignore[misc,valid-type]
        def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
            super().__init__(vllm_config=vllm_config, prefix=prefix)
            model = vllm_config.model_config
            settings = model.hf_config.psychechat
            told, needed = model.pooler_config, _VLLM_POOLING[settings["pooling"]]
            if told is None or told.seq_pooling_type != needed:
                raise ValueError(
                    f"these heads pool by {settings['pooling']}: start vLLM with the pooling type {needed}, "
                    f"not {told and told.seq_pooling_type}"
                )
            self.pooler = FusedHeads(model.get_hidden_size(), settings["groups"], settings["pooling"])
            self._halves = half_products.wanted(vllm_config)

        def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
            loaded: set[str] = set()

            def encoder() -> Iterator[tuple[str, Tensor]]:  # as they come: vLLM may reuse one's memory for the next
                for name, tensor in weights:
                    if name.startswith(_HEADS):
                        parameter = "pooler." + name.removeprefix(_HEADS)
                        self.get_parameter(parameter).copy_(tensor)
                        loaded.add(parameter)
                    else:
                        yield name, tensor

            rest: set[str] = super().load_weights(encoder())
            if loaded != {"pooler.weight", "pooler.bias"}:
                raise ValueError("the model folder lacks heads.weight or heads.bias")
            if self._halves:
                half_products.install(self)
            return loaded | rest

    WithFusedHeads.__name__ = WithFusedHeads.__qualname__ = PREFIX + architecture
    return cast(type[nn.Module], WithFusedHeads)


def __getattr__(name: str) -> type[nn.Module]:
    """`PsychechatBertModel` and the like, made when vLLM imports them from here by the names in `plugin`."""
    if name.startswith(PREFIX) and name.removeprefix(PREFIX) in ModelRegistry.models:
        return with_fused_heads(name.removeprefix(PREFIX))
    raise AttributeError(f"module {__name__} has no attribute {name}")
