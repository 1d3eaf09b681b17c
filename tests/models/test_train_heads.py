"""Heads for any folder: a tiny encoder and a tiny decoder learn a few dozen made-up rows."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from typer import Typer
from typer.testing import CliRunner

from models import embeddings, train_heads
from models.embeddings import POOLINGS, Pooling, backbone, vectors_of
from models.predictions import load_heads
from psychechat.engines.vllm.windows import Windows
from tests.models import tiny

app = Typer()
app.command()(train_heads.main)

MEANINGS = {"good": {"emotion": {"joy": 2, "fear": 0}, "risk": 0}, "dark": {"emotion": {"joy": 0}, "risk": 2}}


def rows(count: int, split: str, seed: int) -> list[str]:
    """A word that carries the labels, said twice, among words that carry nothing."""
    chance = random.Random(seed)
    lines = []
    for i in range(count):
        word = ("good", "dark")[i % 2]
        words = [word, word, *(f"w{chance.randrange(57)}" for _ in range(2)), word]
        lines.append(json.dumps({"text": " ".join(words), "split": split, **MEANINGS[word]}))
    return lines


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    plain, zipped = tmp_path / "train.jsonl", tmp_path / "dev.jsonl.gz"
    plain.write_text("\n".join(rows(60, "train", 1)))
    with gzip.open(zipped, "wt") as file:
        file.write("\n".join(rows(24, "dev", 2)))
    return ["--data", str(plain), "--data", str(zipped)]


@tiny.trained
@pytest.mark.parametrize(
    ("build", "pooling"),  # a decoder's first token has seen no other
    [*((tiny.bert, pooling) for pooling in POOLINGS), (tiny.qwen3, "mean"), (tiny.qwen3, "last")],
)
def test_learns_from_a_few_dozen_rows(
    build: Callable[[Path], Path], pooling: Pooling, tmp_path: Path, data: list[str]
) -> None:
    encoder, out = build(tmp_path / "encoder"), tmp_path / "out"
    result = CliRunner().invoke(app, ["--encoder", str(encoder), "--out", str(out), "--pooling", pooling, *data])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["risk"]["recall_ideation_or_worse"] == 1
    assert report["emotion"]["f1_joy"] > 0.9
    assert "recall ideation or worse | 1 |" in (out / "README.md").read_text()

    config = json.loads((out / "config.json").read_text())
    own = json.loads((encoder / "config.json").read_text())["architectures"][0]
    assert config["architectures"] == [f"Psychechat{own}"]
    assert config["psychechat"] == {"groups": [4] * 8 + [5], "pooling": pooling, "prefix": ""}
    windows = Windows.of(out, 512)
    vectors = vectors_of(backbone(out), [windows.cut(text)[0] for text in ("good good w1", "dark dark w2")], pooling)
    _, risk, _ = load_heads(out / "heads.safetensors").logits(vectors)
    assert risk.argmax(1).tolist() == [0, 2]


@tiny.trained
def test_the_index_names_every_tensor_where_it_lies(tmp_path: Path, data: list[str]) -> None:
    encoder, out = tiny.bert(tmp_path / "encoder"), tmp_path / "out"
    assert CliRunner().invoke(app, ["--encoder", str(encoder), "--out", str(out), *data]).exit_code == 0
    places = json.loads((out / "model.safetensors.index.json").read_text())["weight_map"]
    assert {"heads.weight", "heads.bias"} < set(places)
    for name, file in places.items():
        with safe_open(out / file, framework="pt") as opened:
            assert torch.isfinite(opened.get_tensor(name)).all()


@tiny.trained
def test_an_interrupted_run_embeds_only_what_is_missing(
    tmp_path: Path, data: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, out = tiny.bert(tmp_path / "encoder"), tmp_path / "out"
    command = ["--encoder", str(encoder), "--out", str(out), *data]
    monkeypatch.setattr(embeddings, "_CHUNK", 20)
    seen: list[int] = []

    def interrupted(model: torch.nn.Module, rows: list[list[int]], pooling: Pooling) -> torch.Tensor:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(len(rows))
        return vectors_of(model, rows, pooling)

    with monkeypatch.context() as patch:
        patch.setattr(embeddings, "vectors_of", interrupted)
        assert CliRunner().invoke(app, command).exit_code != 0
    again: list[int] = []

    def counted(model: torch.nn.Module, rows: list[list[int]], pooling: Pooling) -> torch.Tensor:
        again.append(len(rows))
        return vectors_of(model, rows, pooling)

    monkeypatch.setattr(embeddings, "vectors_of", counted)
    assert CliRunner().invoke(app, command).exit_code == 0
    texts = {json.loads(line)["text"] for line in [*rows(60, "train", 1), *rows(24, "dev", 2)]}
    assert sum(seen) + sum(again) == len(texts)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"text": "canary", "risk": 7}', "line 2: malformed risk"),
        ('{"text": "canary", "emotion": {"glee": 1}}', "line 2: malformed emotion"),
        ('{"text": "canary", "label": 1}', "line 2: malformed label"),
        ("canary", "line 2: malformed the row"),
    ],
)
def test_a_malformed_row_is_named_and_not_shown(tmp_path: Path, line: str, fault: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(rows(1, "train", 1)[0] + "\n" + line)
    result = CliRunner().invoke(
        app, ["--encoder", str(tmp_path), "--out", str(tmp_path / "out"), "--data", str(path)], env={"COLUMNS": "200"}
    )
    assert result.exit_code == 1
    assert fault in result.stderr
    assert "canary" not in result.output
