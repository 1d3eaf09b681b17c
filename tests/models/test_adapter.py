"""The adapter on a tiny encoder: what is trained is what the server's folder computes, and runs resume."""

from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from transformers import BertModel

from models.adapter import Upper
from models.data import GROUPS, MASKED, Example
from models.states import States
from models.train_classifier import Rows, train
from psychechat.demo.encoder import _merge
from tests.models import tiny

FIRST = 1
IDS = [[0, 3 + i % 2, *range(7, 9 + i % 5), 1] for i in range(24)]
"""The second token says which severity a text has."""


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return tiny.bert(tmp_path / "encoder")


def rows(encoder: Path, folder: Path) -> Rows:
    examples = [
        Example("", "made up", "train", (MASKED,) * len(GROUPS), risk=0 if ids[1] == 3 else 2) for ids in IDS
    ]  # fmt: skip
    return Rows(examples, IDS, States(folder, encoder, FIRST).of(IDS))


def built(encoder: Path, learned: Rows) -> Upper:
    torch.manual_seed(5)
    model = Upper(encoder, FIRST, rank=4)
    model.standardise(learned.states)
    return model


@tiny.trained
def test_merged_it_gives_what_it_gave(encoder: Path, tmp_path: Path) -> None:
    """Lower states, adapted upper layers and folded heads against the merged encoder with plain heads, in float32."""
    learned = rows(encoder, tmp_path / "states")
    model = built(encoder, learned)
    train(model, learned, tmp_path / "run.pt", 0, range(12), 1.0, Console(quiet=True))
    with torch.inference_mode():
        _, risk = model(learned.states)
    truth = learned.targets.risk
    assert torch.equal(risk.argmax(1), truth)

    tensors = {name: tensor.numpy() for name, tensor in load_file(encoder / "model.safetensors").items()}
    before = {name: tensor.copy() for name, tensor in tensors.items()}
    _merge({name: tensor.numpy() for name, tensor in model.low_rank().items()}, tensors)
    changed = {name for name in tensors if not np.array_equal(before[name], tensors[name])}
    assert changed == {name.removesuffix(".up") + ".weight" for name in model.low_rank() if name.endswith(".up")}
    save_file({name: torch.from_numpy(tensor) for name, tensor in tensors.items()}, encoder / "model.safetensors")
    merged = BertModel.from_pretrained(encoder, add_pooling_layer=False, dtype=torch.float32)
    with torch.inference_mode():
        pooled = torch.cat([merged(torch.tensor([ids])).last_hidden_state.mean(1) for ids in IDS])
        _, again = model.linear().logits(pooled)
    assert torch.allclose(again.softmax(1), risk.softmax(1), atol=0.05)  # bfloat16 there, float32 here


def test_states_are_computed_once_and_resume(encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = States(tmp_path / "whole", encoder, FIRST).of(IDS)
    States(tmp_path / "parts", encoder, FIRST).of(IDS[:5])
    with (tmp_path / "parts" / "states.bin").open("ab") as file:
        file.write(b"cut off")  # what a run leaves that ends before the line in the index
    parts = States(tmp_path / "parts", encoder, FIRST).of(IDS)
    assert all(torch.allclose(a.float(), b.float(), atol=0.1) for a, b in zip(whole, parts, strict=True))
    monkeypatch.setattr("models.states.BertModel.from_pretrained", None)  # a third run needs no model
    again = States(tmp_path / "parts", encoder, FIRST).of(IDS)
    assert all(torch.equal(a, b) for a, b in zip(parts, again, strict=True))


@tiny.trained
def test_an_interrupted_run_ends_where_a_whole_one_does(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = rows(encoder, tmp_path / "states")
    learned.visits = [4.0] * len(IDS)
    monkeypatch.setattr("models.train_classifier.TOKENS", 64)
    monkeypatch.setattr("models.train_classifier.SAVE_EVERY", 0.0)
    quiet = Console(quiet=True)
    whole = built(encoder, learned)
    whole.dropout.p = 0.0  # it and which tokens are kept are all that chance decides while a run is under way
    monkeypatch.setattr("models.train_classifier.TOKENS_KEPT", 1.0)
    train(whole, learned, tmp_path / "whole.pt", 0, range(2), 1.0, quiet)

    calls = 0
    loss = Rows.loss

    def until_stopped(self: Rows, model: Upper, batch: list[int]) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt
        return loss(self, model, batch)

    for stop in (True, False):
        resumed = built(encoder, learned)
        resumed.dropout.p = 0.0
        with monkeypatch.context() as patch:
            if stop:
                patch.setattr(Rows, "loss", until_stopped)
                with pytest.raises(KeyboardInterrupt):
                    train(resumed, learned, tmp_path / "run.pt", 0, range(2), 1.0, quiet)
            else:
                train(resumed, learned, tmp_path / "run.pt", 0, range(2), 1.0, quiet)
    for name, tensor in whole.trained().items():
        assert torch.allclose(tensor, resumed.trained()[name], atol=1e-6), name
