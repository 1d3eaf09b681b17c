"""Which models are served, and the version of their weights, a third of `system_fingerprint`."""

import json
from pathlib import Path
from typing import Any

import pytest

from psychechat.config import GeneratorSettings, Settings, SettingsError
from psychechat_ray.models import (
    check_adapters,
    check_places,
    check_shared_gpus,
    generator_model,
    has_shipped_heads,
    prepare,
    weights_version,
)

TWO = {"mine": {"model": "someone/mine"}, "yours": {"model": "someone/yours"}}


def version(**changes: Any) -> str:
    return weights_version(Settings.model_validate(changes))


def test_a_version_is_stable_and_follows_every_model() -> None:
    assert version() == version() == version(port=9000)
    others = [
        version(counselor={"model": "someone/counselor"}),
        version(counselor={"model": "someone/counselor", "revision": "v2"}),
        version(classifier={"model": "someone/classifier"}),
        version(seeker={"model": "someone/seeker"}),
        version(counselor={"engine": "scripted"}),
        version(engines=TWO, roles={"counselor": {"en": "mine", "zh": "yours"}}),
        version(engines=TWO, roles={"counselor": {"en": "yours", "zh": "mine"}}),
        version(engines={"mine": {"adapters": {"warm": "/one"}}}, roles={"counselor": "mine/warm"}),
        version(engines={"mine": {"adapters": {"warm": "/two"}}}, roles={"counselor": "mine/warm"}),
    ]
    assert len({version(), *others}) == 1 + len(others)


@pytest.mark.parametrize(
    ("classifier", "shipped"),
    [({}, True), ({"model": "someone/classifier"}, False), ({"engine": "scripted"}, False)],
)
def test_only_the_demos_heads_are_the_shipped_ones(classifier: dict[str, Any], shipped: bool) -> None:
    assert has_shipped_heads(Settings.model_validate({"classifier": classifier}).classifier) is shipped


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder with SmolLM2's shape, as one downloads or converts it: without a manifest."""
    folder = tmp_path / "english"
    folder.mkdir()
    shape = {"model_type": "llama", "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9}
    (folder / "config.json").write_text(json.dumps(shape | {"vocab_size": 49152}))
    return folder


def served_from(model: str) -> Settings:
    return Settings.model_validate({"classifier": {"engine": "scripted"}, "counselor": {"model": model}})


def the_counselor(settings: Settings) -> GeneratorSettings:
    return settings.engines[settings.casting.lane("en")]


def test_the_bare_smollm2_is_not_served(bare: Path) -> None:
    """Neither a folder nor its name on the hub, where the engine would fetch it itself."""
    for model in (str(bare), "HuggingFaceTB/SmolLM2-135M-Instruct"):
        with pytest.raises(SettingsError, match="without an adapter that makes it a counselor"):
            generator_model(the_counselor(served_from(model)), bare)
    assert generator_model(the_counselor(served_from("someone/counselor")), bare) == "someone/counselor"
    assert Path(generator_model(the_counselor(Settings()), bare)).name == "counselor"


@pytest.mark.parametrize("role", ["counselor", "seeker"])
def test_it_is_refused_before_anything_starts(bare: Path, role: str) -> None:
    models = {"counselor": {"model": "demo"}, role: {"model": str(bare)}}
    with pytest.raises(SettingsError, match=str(bare)):
        prepare(Settings.model_validate({"classifier": {"engine": "scripted"}, **models}))


def test_a_download_of_another_name_is_looked_at_too(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, revision: str(bare))
    with pytest.raises(SettingsError, match="without an adapter"):
        prepare(served_from("someone/copy"))


@pytest.mark.parametrize("model", ["s3://bucket/counselor", "gs://bucket/counselor", "AZ://bucket/counselor"])
def test_a_bucket_is_refused_with_what_to_do(model: str, bare: Path) -> None:
    """The hub would be asked for a model of that name."""
    settings = served_from(model)
    for use in (
        lambda: check_places(settings),
        lambda: prepare(settings),
        lambda: generator_model(the_counselor(settings), bare),
    ):
        with pytest.raises(SettingsError, match="Copy it to a folder first"):
            use()
    check_places(Settings.model_validate({"classifier": {"engine": "scripted", "model": model}}))


def test_an_adapter_that_is_not_there_is_told_with_its_place(tmp_path: Path) -> None:
    engine = {"model": "someone/mine", "adapters": {"warm": str(tmp_path)}}
    given: dict[str, Any] = {"engines": {"mine": engine}, "roles": {"reply": "mine/warm"}}
    with pytest.raises(SettingsError, match=f"The adapter warm is not there: {tmp_path} holds no adapter_config.json"):
        check_adapters(Settings.model_validate(given))
    (tmp_path / "adapter_config.json").write_text("{}")
    check_adapters(Settings.model_validate(given))
    # Scripted engines load nothing.
    engine["adapters"], engine["engine"] = {"warm": "/nowhere"}, "scripted"
    check_adapters(Settings.model_validate(given))


@pytest.mark.parametrize(
    ("architecture", "counselor_args", "refused"),
    [
        ("PsychechatQwen3ForCausalLM", {}, True),
        ("PsychechatQwen3ForCausalLM", {"kv_cache_memory_bytes": 1}, True),  # the classifier would measure, too
        ("PsychechatBertModel", {}, False),  # keeps no KV, and so measures nothing
    ],
)
def test_a_decoder_as_classifier_shares_no_gpu_unmeasured(
    architecture: str, counselor_args: dict[str, int], refused: bool, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    classifier = {"model": str(tmp_path), "replicas": {"num_gpus": 0.1}}
    counselor = {"engine_args": counselor_args, "replicas": {"num_gpus": 0.9}}
    settings = Settings.model_validate({"classifier": classifier, "counselor": counselor})
    if refused:
        with pytest.raises(SettingsError, match="classifier may start on one GPU with counselor"):
            check_shared_gpus(settings)
    else:
        check_shared_gpus(settings)
    given = Settings.model_validate(
        {
            "classifier": classifier | {"engine_args": {"kv_cache_memory_bytes": 1}},
            "counselor": counselor | {"engine_args": {"kv_cache_memory_bytes": 1}},
        }
    )
    check_shared_gpus(given)


def test_the_demos_classifier_shares_a_gpu_whatever_a_folder_of_its_name_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "config.json").write_text(json.dumps({"architectures": ["PsychechatQwen3ForCausalLM"]}))
    monkeypatch.chdir(tmp_path)
    settings = {"classifier": {"replicas": {"num_gpus": 0.1}}, "counselor": {"replicas": {"num_gpus": 0.9}}}
    check_shared_gpus(Settings.model_validate(settings))
