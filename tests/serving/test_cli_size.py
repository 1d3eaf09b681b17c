"""`psychechat size`: what is told, what is told apart, and errors that say what would help."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from psychechat.cli import commands
from psychechat.config import Settings
from psychechat.sizing import shapes


def size(*args: str) -> Result:
    return CliRunner().invoke(commands, ["size", *args], env={"COLUMNS": "200"})


@pytest.fixture(autouse=True)
def hub(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, empty; and no network."""
    from huggingface_hub import constants

    cache = tmp_path_factory.mktemp("hub")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return cache


def as_json(*args: str) -> dict[str, Any]:
    result = size(*args, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_every_card_by_default_with_what_is_assumed_apart_from_what_follows() -> None:
    result = size()
    assert result.exit_code == 0, result.output
    parts = ["Arithmetic, of its config.json", "Assumed, to be replaced", "Fits, by arithmetic", "To set and to expect"]
    places = [result.stdout.index(part) for part in parts]
    assert places == sorted(places)
    assumed = result.stdout[places[1] : places[2]]
    for told in ("2,048 tokens at the mean", "2.5 GiB", "60% of the card's bandwidth", "H100-80GB", "150 streams"):
        assert told in assumed
    for gigabytes in (24, 40, 48, 80, 141):
        assert f" {gigabytes} GB" in result.stdout[places[2] :]


def test_a_card_alone_gives_settings_that_the_server_takes() -> None:
    result = size("--gpu", "80")
    text = result.stdout[result.stdout.index("counselor:") : result.stdout.index("\nWhere another engine")]
    engine = Settings.model_validate(yaml.safe_load(text)).engines["counselor"]
    found = as_json("--gpu", "80")["cards"][0]
    assert engine.max_num_seqs == found["settings"]["max_num_seqs"]
    assert dict(engine.engine_args) == found["settings"]["engine_args"]
    assert engine.sequences(found["arithmetic"]["kv_tokens"]) == engine.max_num_seqs, "permits are not bound by memory"
    shared = result.stdout[result.stdout.index("\nWhere another engine") :]
    assert f"kv_cache_memory_bytes: {found['arithmetic']['kv_cache_memory_bytes']} " in shared
    assert "beside gpu_memory_utilization, which must be no more than what is free" in shared


def test_as_json_assumptions_are_no_arithmetic() -> None:
    whole = as_json("--model", "Qwen3-14B")
    assert whole["arithmetic"].keys().isdisjoint(whole["assumed"])
    assert whole["assumed"]["cards"]["141"]["name"] == "H200"
    by_gpu = {card["gpu"]: card for card in whole["cards"]}
    assert not by_gpu[24]["fits"]
    assert "does not fit on a card of 24 GB" in by_gpu[24]["why"]
    assert by_gpu[141]["arithmetic"]["kv_tokens"] > by_gpu[80]["arithmetic"]["kv_tokens"] > 0
    assert by_gpu[80]["estimated"].keys() == {"streams", "tokens_a_second_when_full", "ingress_cores"}


def test_a_longer_mean_and_a_smaller_number_change_what_fits_as_they_should() -> None:
    [of_2048] = as_json("--gpu", "80")["cards"]
    [of_4096] = as_json("--gpu", "80", "--sequence-tokens", "4096")["cards"]
    [in_fp8] = as_json("--gpu", "80", "--kv-cache-dtype", "fp8")["cards"]
    kv = of_2048["arithmetic"]["kv_tokens"]
    assert of_4096["arithmetic"] | {"sequences": 0} == of_2048["arithmetic"] | {"sequences": 0}
    assert of_4096["arithmetic"]["sequences"] == kv // 4096
    assert in_fp8["arithmetic"]["kv_tokens"] in range(2 * kv, 2 * kv + 32)
    assert in_fp8["settings"]["engine_args"]["kv_cache_dtype"] == "fp8"


def test_kv_memory_in_fp8_names_the_attention_where_vllm_would_compile_one() -> None:
    fp8 = ("--kv-cache-dtype", "fp8", "--quantization", "fp8")
    for gigabytes, named in ((24, "TRITON_ATTN"), (48, "TRITON_ATTN"), (80, None), (141, None)):
        [card] = as_json("--gpu", str(gigabytes), *fp8)["cards"]
        assert card["settings"]["engine_args"].get("attention_backend") == named
    assert "attention_backend: TRITON_ATTN" in size("--gpu", "48", *fp8).stdout
    a100 = size("--gpu", "40", *fp8)
    assert a100.exit_code == 1
    assert "an A100-40GB reads no KV memory in fp8" in a100.stderr
    assert "What would: --kv-cache-dtype auto" in a100.stderr


@pytest.mark.parametrize(("model", "gpu"), [("Qwen3-8B", 24), ("Qwen3-32B", 48), ("Qwen3-32B", 80), ("Qwen3-14B", 24)])
def test_what_does_not_fit_is_told_with_what_would_and_that_is_true(model: str, gpu: int) -> None:
    result = size("--model", model, "--gpu", str(gpu))
    assert result.exit_code == 1
    assert f"does not fit on a card of {gpu} GB" in result.stderr
    would = re.search(r"What would: (.*)\.\n", result.stderr)
    assert would, result.stderr
    for remedy in would[1].split("; "):
        if found := re.search(r"a card of (\d+) GB", remedy):
            args = ["--gpu", found[1]]
        else:
            options = re.findall(r"(--[a-z-]+) (\w+)", remedy)
            assert options, remedy
            args = ["--gpu", str(gpu), *(word for option in options for word in option)]
        assert as_json("--model", model, *args)["cards"][0]["fits"], remedy


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--gpu", "79"], "--gpu 79 is no card that is known: take one of 24, 40, 48, 80, 141"),
        (["--model", "nothing"], "neither a folder with a config.json nor one of Qwen/Qwen3-0.6B"),
        (["--model", "nobody/nothing"], "the config.json of nobody/nothing is not had from the hub"),
        (["--tensor-parallel-size", "3"], "does not divide the model's 32 heads"),
        (["--max-model-len", "100000"], "was made for 40960 tokens"),
        (["--sequence-tokens", "20000"], "more than --max-model-len"),
    ],
)
def test_a_mistake_is_named(args: list[str], told: str) -> None:
    result = size(*args)
    assert result.exit_code == 1
    assert told in result.stderr


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "is no JSON"),
        ("[]", "is no model's config.json"),
        ('{"model_type": "deepseek_v3"}', "its model_type is 'deepseek_v3', and only llama"),
        ('{"model_type": "qwen3", "num_attention_heads": 8}', "its config.json has no hidden_size"),
        ('{"model_type": "mistral", "sliding_window": 4096}', "sliding window"),
    ],
)
def test_a_config_that_is_not_reckoned_is_named(content: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    result = size("--model", str(tmp_path))
    assert result.exit_code == 1
    assert told in result.stderr
    assert str(tmp_path) in result.stderr


def test_a_folder_of_ones_own_and_its_file_are_sized_alike(tmp_path: Path) -> None:
    config = dict(shapes.known()["Qwen/Qwen3-4B"])
    (tmp_path / "config.json").write_text(json.dumps(config))
    known = as_json("--model", "qwen3-4b", "--gpu", "80")
    for named in (tmp_path, tmp_path / "config.json"):
        assert as_json("--model", str(named), "--gpu", "80")["cards"] == known["cards"]
    quantized = config | {"quantization_config": {"quant_method": "awq", "bits": 4}}
    (tmp_path / "config.json").write_text(json.dumps(quantized))
    smaller = as_json("--model", str(tmp_path))["arithmetic"]["weight_bytes_a_card"]
    assert smaller == known["arithmetic"]["weight_bytes_a_card"] - shapes.of("Qwen3-4B").linear_parameters * 12 // 8


def test_a_config_that_the_hubs_cache_holds_is_found_there(hub: Path) -> None:
    kept, commit = hub / "models--someone--counselor", "a" * 40
    for folder in (kept / "refs", kept / "snapshots" / commit):
        folder.mkdir(parents=True)
    (kept / "refs" / "main").write_text(commit)
    (kept / "snapshots" / commit / "config.json").write_text(json.dumps(shapes.known()["Qwen/Qwen3-8B"]))
    found, known = (as_json("--gpu", "80", "--model", model)["cards"] for model in ("someone/counselor", "Qwen3-8B"))
    assert found == known
