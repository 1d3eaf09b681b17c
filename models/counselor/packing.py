"""Many prompts as one sequence: a tree whose shared beginnings are computed once.

The stages of a turn share the system text and the conversation, and a turn continues the turn before. `pack` lays
such a tree out as one row of tokens; a token sees its ancestors and what precedes it in its own node, at the position
it would have if its branch were alone. `attention` computes that node by node, so siblings cost each other nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, LlamaForCausalLM, Qwen3ForCausalLM
from transformers.masking_utils import AttentionMaskInterface

from models.counselor.examples import END, Encoder, Example

NAME = "tree"


@dataclass
class Node:
    """Tokens [start, end) of the row; `ancestors` are the spans it sees, the nearest last."""

    start: int
    end: int
    position: int
    ancestors: tuple[tuple[int, int], ...]


@dataclass
class Row:
    """`sources[i]` is the index whose output must predict `targets[i]`; `kinds[i]` names the stage and language."""

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def mask(self) -> Tensor:
        """The same tree as a dense mask [1, 1, tokens, tokens], True where a token sees: for tests."""
        seen = torch.zeros(len(self), len(self), dtype=torch.bool)
        for node in self.nodes:
            for start, end in node.ancestors:
                seen[node.start : node.end, start:end] = True
            size = node.end - node.start
            seen[node.start : node.end, node.start : node.end] = torch.ones(size, size, dtype=torch.bool).tril()
        return seen[None, None]


def pack(examples: Sequence[Example], encode: Encoder) -> Row:
    """One row for all examples, in order. Only answers are predicted."""
    row = Row()
    known: dict[tuple[str, ...], Node] = {}
    for example in examples:
        kind = f"{example.language}/{example.stage}"
        parent: Node | None = None
        for depth in range(1, len(example.chunks) + 1):
            path = example.chunks[:depth]
            if path not in known:
                known[path] = _add(row, encode(path[-1]), parent)
            parent = known[path]
        assert parent is not None
        answer = encode(example.answer) + encode(END)
        leaf = _add(row, answer, parent)
        row.sources += [parent.end - 1, *range(leaf.start, leaf.end - 1)]
        row.targets += answer
        row.kinds += [kind] * len(answer)
    return row


def _add(row: Row, ids: Sequence[int], parent: Node | None) -> Node:
    start, position = len(row), 0 if parent is None else parent.position + parent.end - parent.start
    ancestors = () if parent is None else _with(parent.ancestors, parent.start, parent.end)
    node = Node(start, start + len(ids), position, ancestors)
    row.ids += ids
    row.positions += range(position, position + len(ids))
    row.nodes.append(node)
    return node


def _with(spans: tuple[tuple[int, int], ...], start: int, end: int) -> tuple[tuple[int, int], ...]:
    """With another span at the end. Neighbours become one: a long conversation is few spans of many messages."""
    if spans and spans[-1][1] == start:
        return (*spans[:-1], (spans[-1][0], end))
    return (*spans, (start, end))


def attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    nodes: Sequence[Node] = (),
    **_: object,
) -> tuple[Tensor, None]:
    """Transformers' attention interface for one row: query [1, heads, tokens, size] -> [1, tokens, heads, size].

    A node's own part is causal; it is written as a mask over [ancestors, node] because scaled_dot_product_attention
    aligns its own causal mask to the first key.
    """
    outputs = []
    for node in nodes:
        spans = (*node.ancestors, (node.start, node.end))
        keys = torch.cat([key[:, :, start:end] for start, end in spans], 2)
        values = torch.cat([value[:, :, start:end] for start, end in spans], 2)
        own = node.end - node.start
        mask = torch.ones(own, keys.shape[2], dtype=torch.bool).tril(keys.shape[2] - own)
        outputs.append(
            scaled_dot_product_attention(
                query[:, :, node.start : node.end], keys, values, attn_mask=mask, scale=scaling, enable_gqa=True
            )
        )
    return torch.cat(outputs, 2).transpose(1, 2), None


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, lambda *_, **__: None)


def logits(model: Qwen3ForCausalLM | LlamaForCausalLM, row: Row) -> Tensor:
    """What the model predicts at the row's sources: [targets, vocabulary]. The model's attention must be `NAME`."""
    hidden = model.model(
        input_ids=torch.tensor([row.ids]), position_ids=torch.tensor([row.positions]), use_cache=False, nodes=row.nodes
    ).last_hidden_state[0]
    scores: Tensor = model.lm_head(hidden[torch.tensor(row.sources)])
    return scores
