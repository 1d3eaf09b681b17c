"""The fourth head on made-up vectors: what is told apart, how seldom it is wrong, what becomes of the file."""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from models.readings import Vectors
from models.train_asked import CLASSES, FALSE, Texts, add, asks, fit, shifted
from psychechat.engines.vllm.windows import ASKED_WIDTHS, DRAFT_WIDTHS

HIDDEN = 8


def made(seed: int, ordinary: int) -> tuple[Vectors, Texts]:
    """Of each class forty texts of two readings, of which the whole alone tells the class; and many ordinary ones."""
    chance = torch.Generator().manual_seed(seed)
    classes = torch.tensor([*(number for number in range(len(CLASSES)) for _ in range(40)), *[0] * ordinary])
    rows = torch.randn(2 * len(classes), HIDDEN, generator=chance)
    for text, number in enumerate(classes.tolist()):
        rows[2 * text, number] += 6.0 * (number > 0)
    owner = torch.arange(len(classes)).repeat_interleave(2)
    texts = Texts([""] * len(classes), classes, torch.arange(len(classes)) < 40 * len(CLASSES))
    return Vectors(rows, owner), texts


def test_what_asks_is_told_from_what_does_not_and_ordinary_lines_are_left_alone() -> None:
    seen, texts = made(0, 2_000)
    weight, bias = fit(seen, texts)
    bias = shifted(bias, seen, texts, weight)
    other, held = made(1, 2_000)
    p = asks(other, weight, bias)
    guess = torch.where(p.amax(1) >= 0.5, p.argmax(1) + 1, 0)
    for number in (1, 2):
        assert float((guess[held.classes == number] == number).float().mean()) > 0.6
    assert float((asks(seen, weight, bias)[~texts.special].amax(1) >= 0.5).float().mean()) <= FALSE
    assert float((guess[~held.special] > 0).float().mean()) < 10 * FALSE


def test_it_is_added_to_a_file_of_heads_and_replaced_in_it(tmp_path: Path) -> None:
    columns = sum(DRAFT_WIDTHS)
    path = tmp_path / "heads.safetensors"
    tensors = {"weight": torch.randn(columns, HIDDEN), "bias": torch.randn(columns), "layer.up": torch.ones(2)}
    settings = {"groups": list(DRAFT_WIDTHS), "pooling": "mean", "prefix": "query: "}
    save_file(tensors, path, metadata={"psychechat": json.dumps(settings)})
    for value in (1.0, 2.0):
        add(path, torch.full((3, HIDDEN), value), torch.full((3,), value))
        written = load_file(path)
        assert torch.equal(written["weight"][:columns], tensors["weight"])
        assert torch.equal(written["bias"][columns:], torch.full((3,), value))
        assert torch.equal(written["layer.up"], torch.ones(2))
        with safe_open(path, framework="pt") as file:
            assert json.loads(file.metadata()["psychechat"]) == settings | {"groups": list(ASKED_WIDTHS)}
