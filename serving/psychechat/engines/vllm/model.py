"""Our encoder inside vLLM: its BERT, with the fused heads where the pooler goes.

The model folder's `config.json` says under `psychechat` how wide the heads' groups are and how to pool; the head
tensors are `heads.weight` [columns, H] and `heads.bias` [columns] among the weights.
"""

from collections.abc import Iterable, Sequence, Set

import torch
from torch import Tensor, nn
from vllm.config import PoolerConfig
from vllm.model_executor.layers.pooler import DispatchPooler, Pooler
from vllm.model_executor.models.bert import BertEmbeddingModel
from vllm.model_executor.models.interfaces_base import default_pooling_type
from vllm.tasks import PoolingTask
from vllm.v1.pool.metadata import PoolingMetadata

from psychechat_kernels.fused_heads import Pooling, fused_heads

_HEADS = "heads."


class FusedHeads(Pooler):
    """Packed hidden states to calibrated probabilities, one row a sequence."""

    def __init__(self, hidden_size: int, groups: Sequence[int], pooling: Pooling) -> None:
        super().__init__()
        self.groups = tuple(groups)
        self.pooling: Pooling = pooling
        # fp32 whatever the encoder runs in: the heads are small, and their temperatures make them steep.
        columns = sum(self.groups)
        self.weight = nn.Parameter(torch.empty(columns, hidden_size, dtype=torch.float32), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(columns, dtype=torch.float32), requires_grad=False)

    def get_supported_tasks(self) -> Set[PoolingTask]:
        return {"classify"}

    def forward(self, hidden_states: Tensor, pooling_metadata: PoolingMetadata) -> Tensor:
        """[tokens, H] to [sequences, columns]. Raises RuntimeError if a sequence is not here as a whole."""
        cursor = pooling_metadata.get_pooling_cursor()
        if cursor.is_partial_prefill():
            raise RuntimeError("the heads pool whole sequences: chunked prefill and prefix caching must be off")
        lengths = cursor.num_scheduled_tokens_cpu
        return fused_heads(
            hidden_states,
            cursor.first_token_indices_gpu,
            cursor.last_token_indices_gpu,
            self.weight,
            self.bias,
            self.groups,
            self.pooling,
            max_len=int(lengths.max()) if len(lengths) else 0,
        )


@default_pooling_type(seq_pooling_type="MEAN")
class PsychechatBertClassifier(BertEmbeddingModel):
    """vLLM's BERT embedding model with both heads behind the task "classify"."""

    def _build_pooler(self, pooler_config: PoolerConfig) -> Pooler:
        settings = self.config.psychechat
        self.heads = FusedHeads(self.config.hidden_size, settings["groups"], settings["pooling"])
        return DispatchPooler({"classify": self.heads})

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        encoder, loaded = [], set()
        for name, tensor in weights:
            if name.startswith(_HEADS):
                getattr(self.heads, name.removeprefix(_HEADS)).copy_(tensor)
                loaded.add(name)
            else:
                encoder.append((name, tensor))
        if loaded != {"heads.weight", "heads.bias"}:
            raise ValueError("the model folder lacks heads.weight or heads.bias")
        rest: set[str] = super().load_weights(encoder)
        return loaded | rest
