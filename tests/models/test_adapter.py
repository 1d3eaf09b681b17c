"""The adapter on a tiny encoder: what is trained is what the server's folder computes, and runs resume."""

from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import BertModel

from models.adapter import Adapted
from models.data import GROUPS, HURTING, KIND, MASKED, Example
from models.train_classifier import Cycle, Rows, readings, train, write
from psychechat.demo.encoder import _merge
from psychechat.engines.vllm.windows import Windows
from tests.models import tiny

FROZEN = 1
UNKNOWN = (MASKED,) * len(GROUPS)
TEXTS = [f"{'bad' if i % 2 else 'good'} {' '.join(f'w{j}' for j in range(2 + i % 5))}" for i in range(24)]
"""The first word says which severity a text has."""


def once(epochs: int) -> Cycle:
    return Cycle(epochs, peak=1.0, risk=1.0, draft=0.5, visits={})


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return tiny.bert(tmp_path / "encoder")


def windows(encoder: Path) -> Windows:
    return Windows(Tokenizer.from_file(str(encoder / "tokenizer.json")), "", 128)


def rows(encoder: Path) -> Rows:
    examples = [Example(text, "made up", "train", UNKNOWN, risk=2 * text.startswith("bad")) for text in TEXTS]
    return Rows(examples, windows(encoder), once(12))


def built(encoder: Path, learned: Rows) -> Adapted:
    torch.manual_seed(5)
    model = Adapted(encoder, FROZEN, rank=4)
    model.standardise([item.ids for item in learned.items])
    return model


def without_dropout(model: Adapted) -> Adapted:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


@tiny.trained
def test_merged_it_gives_what_it_gave(encoder: Path, tmp_path: Path) -> None:
    """Adapted layers and folded heads against the merged encoder with plain heads, in float32."""
    learned = rows(encoder)
    model = built(encoder, learned)
    train(model, learned, tmp_path / "run.pt", 0, once(12), Console(quiet=True))
    with torch.inference_mode():
        risk = model([item.ids for item in learned.items], [item.spans for item in learned.items]).risk
    assert torch.equal(risk.argmax(1), learned.targets.risk)

    tensors = {name: tensor.numpy() for name, tensor in load_file(encoder / "model.safetensors").items()}
    before = {name: tensor.copy() for name, tensor in tensors.items()}
    _merge({name: tensor.numpy() for name, tensor in model.low_rank().items()}, tensors)
    changed = {name for name in tensors if not np.array_equal(before[name], tensors[name])}
    assert changed == {name.removesuffix(".up") + ".weight" for name in model.low_rank() if name.endswith(".up")}
    assert not any(name.startswith(f"encoder.layer.{FROZEN - 1}.") for name in changed)
    save_file({name: torch.from_numpy(tensor) for name, tensor in tensors.items()}, encoder / "model.safetensors")
    merged = BertModel.from_pretrained(encoder, add_pooling_layer=False, dtype=torch.float32)
    with torch.inference_mode():
        pooled = torch.cat([merged(torch.tensor([item.ids])).last_hidden_state.mean(1) for item in learned.items])
        again = model.linear().logits(pooled).risk
    assert torch.allclose(again.softmax(1), risk.softmax(1), atol=0.05)  # bfloat16 there, float32 here


@tiny.trained
def test_a_hurting_draft_is_learned_with_what_it_answers(encoder: Path, tmp_path: Path) -> None:
    """The draft's tokens alone are pooled, and what they answer is in them."""
    examples = [
        Example("dark noon", "made up", "train", UNKNOWN, draft=text, hurts=HURTING if "bad" in text else KIND)
        for text in TEXTS
    ]
    learned = Rows(examples, windows(encoder), once(12))
    item = learned.items[0]
    assert [tiny.WORDS[i] for i in item.ids[item.spans[0][0] : item.spans[0][1] + 1]] == TEXTS[0].split()
    model = built(encoder, learned)
    train(model, learned, tmp_path / "run.pt", 0, once(12), Console(quiet=True))
    with torch.inference_mode():
        draft = model([item.ids for item in learned.items], [item.spans for item in learned.items]).draft
        said = windows(encoder).pair("good noon", TEXTS[0])
        other = model([said.ids], [said.sentences]).draft
    assert torch.equal(draft.argmax(1), learned.targets.draft)
    assert not torch.allclose(other[0], draft[0])


def test_a_marked_sentence_has_the_severity_and_the_others_none(encoder: Path) -> None:
    text = "good w1 w2 w3 w4 . bad w1 w2 w3 w4 . dark noon w1 w2 w3 ."
    at = text.index("bad"), text.index(" dark")
    example = Example(text, "made up", "train", UNKNOWN, risk=3, marked=at, by_sentence=True)
    ids, read = readings(example, windows(encoder))
    (whole, of_whole), (marked, of_marked), *others = read
    assert (whole, of_whole.risk) == ((0, len(ids) - 1), 3)
    assert (ids[marked[0]], of_marked.risk) == (tiny.WORDS.index("bad"), 3)
    assert [(ids[first], said.risk) for (first, _), said in others] == [
        (tiny.WORDS.index("good"), 0),
        (tiny.WORDS.index("dark"), 0),
    ]


@tiny.trained
def test_an_interrupted_run_ends_where_a_whole_one_does(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = rows(encoder)
    learned.visits = [4.0] * len(TEXTS)
    monkeypatch.setattr("models.train_classifier.TOKENS", 64)
    monkeypatch.setattr("models.train_classifier.SAVE_EVERY", 0.0)
    quiet = Console(quiet=True)
    whole = without_dropout(built(encoder, learned))  # all that chance decides besides is which tokens are kept
    monkeypatch.setattr("models.train_classifier.TOKENS_KEPT", 1.0)
    train(whole, learned, tmp_path / "whole.pt", 0, once(2), quiet)

    calls = 0
    loss = Rows.loss

    def until_stopped(self: Rows, model: Adapted, batch: list[int]) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt
        return loss(self, model, batch)

    for stop in (True, False):
        resumed = without_dropout(built(encoder, learned))
        with monkeypatch.context() as patch:
            if stop:
                patch.setattr(Rows, "loss", until_stopped)
                with pytest.raises(KeyboardInterrupt):
                    train(resumed, learned, tmp_path / "run.pt", 0, once(2), quiet)
            else:
                train(resumed, learned, tmp_path / "run.pt", 0, once(2), quiet)
    for name, tensor in whole.trained().items():
        assert torch.allclose(tensor, resumed.trained()[name], atol=1e-6), name


@tiny.trained
def test_a_blend_of_two_trainings_is_between_them(encoder: Path, tmp_path: Path) -> None:
    """Weight by weight, heads and adapter alike, whatever each of them was standardised by."""
    learned = rows(encoder)
    ids = [item.ids for item in learned.items]
    first = built(encoder, learned)
    train(first, learned, tmp_path / "first.pt", 0, once(2), Console(quiet=True))
    write(first.linear(), first, tmp_path / "first.safetensors")
    second = built(encoder, learned)
    second.resume(tmp_path / "first.safetensors", ids[:12])
    train(second, learned, tmp_path / "second.pt", 1, once(2), Console(quiet=True))
    before = second.linear(), second.low_rank()
    second.blend(tmp_path / "first.safetensors", 0.25)
    other = load_file(tmp_path / "first.safetensors")
    assert torch.allclose(second.linear().weight, before[0].weight.lerp(other["weight"], 0.25), atol=1e-5)
    assert torch.allclose(second.linear().bias, before[0].bias.lerp(other["bias"], 0.25), atol=1e-4)
    for name, tensor in second.low_rank().items():
        assert torch.allclose(tensor.float(), before[1][name].float().lerp(other[name].float(), 0.25), atol=1e-3), name
