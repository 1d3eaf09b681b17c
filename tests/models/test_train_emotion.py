"""The emotion head fitted anew: what it learns, and that no other column of the file moves."""

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from models.data import GROUPS, MASKED, Example
from models.heads import EMOTION_COLUMNS, Heads
from models.train_emotion import MOST, fitted, replace_first, sample
from models.written import Split
from psychechat.engines.vllm.windows import SUBJECT_WIDTHS

WIDTH = 16
NONE = (0,) * len(GROUPS)
GLAD = (2, *NONE[1:])


def made_up(count: int) -> tuple[torch.Tensor, list[Example]]:
    """Vectors whose first coordinate tells whether joy is there."""
    generator = torch.Generator().manual_seed(4)
    rows = torch.randn(count, WIDTH, generator=generator)
    examples = []
    for i in range(count):
        rows[i, 0] = 3.0 if i % 3 == 0 else -3.0
        split: Split = "dev" if i % 5 == 0 else "train"
        examples.append(Example(f"text {i}", "messages/en", split, GLAD if i % 3 == 0 else NONE))
    return rows, examples


def heads() -> Heads:
    generator = torch.Generator().manual_seed(5)
    columns = sum(SUBJECT_WIDTHS)
    return Heads(torch.randn(columns, WIDTH, generator=generator) * 0.01, torch.zeros(columns))


def test_it_learns_joy_and_leaves_all_other_columns_alone() -> None:
    rows, examples = made_up(300)
    before = heads()
    after = fitted(before, rows, examples)
    present = 1 - after.logits(rows).emotion.softmax(-1)[:, 0, 0]
    glad = torch.tensor([example.emotion[0] > 0 for example in examples])
    assert float(present[glad].min()) > float(present[~glad].max())
    assert torch.equal(after.weight[EMOTION_COLUMNS:], before.weight[EMOTION_COLUMNS:])
    assert torch.equal(after.bias[EMOTION_COLUMNS:], before.bias[EMOTION_COLUMNS:])


def test_only_the_first_columns_of_the_file_are_replaced(tmp_path: Path) -> None:
    file, before = tmp_path / "heads.safetensors", heads()
    save_file({"weight": before.weight, "bias": before.bias, "up": torch.ones(2)}, file, metadata={"psychechat": "{}"})
    replace_first(file, replace(before, weight=before.weight + 1, bias=before.bias + 1))
    tensors = load_file(file)
    assert torch.equal(tensors["weight"][:EMOTION_COLUMNS], before.weight[:EMOTION_COLUMNS] + 1)
    assert torch.equal(tensors["weight"][EMOTION_COLUMNS:], before.weight[EMOTION_COLUMNS:])
    assert torch.equal(tensors["bias"][EMOTION_COLUMNS:], before.bias[EMOTION_COLUMNS:])
    assert torch.equal(tensors["up"], torch.ones(2))


def test_a_large_set_is_sampled_and_risk_is_not_looked_at() -> None:
    many = [Example(f"text {i}", "goemotions", "train", NONE, risk=0) for i in range(MOST["goemotions"] + 10)]
    few = [Example(f"line {i}", "labelled/zh", "dev", NONE, risk=2) for i in range(3)]
    drafts = [Example("text", "messages/en", "train", NONE, draft="draft")]
    others = [Example("text", "lines/en", "train", risk=2)]
    picked = sample([*many, *few, *drafts, *others], 0)
    assert len(picked) == MOST["goemotions"] + len(few)
    assert {example.risk for example in picked} == {MASKED}
    assert picked == sample([*many, *few, *drafts, *others], 0)
