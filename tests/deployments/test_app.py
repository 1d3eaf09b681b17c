from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError
from ray.serve import Application

from psychechat.config import Settings, SettingsError
from psychechat.engines.scripted import ScriptedGenerator
from psychechat.prompts.importer import import_pack
from psychechat_ray.app import _least_prompts, build
from psychechat_ray.configurations import FOLDER, load
from psychechat_ray.generator import check_room
from tests.support import virtual_time
from tests.support.published import checkout, client

CONFIGS = sorted(file.stem for file in FOLDER.glob("*.yaml"))


@pytest.fixture(autouse=True)
def _published_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the configurations for the published weights look for their prompts, which are not ours to ship."""
    import_pack(checkout(tmp_path, client()), tmp_path / "packs" / "published")
    monkeypatch.chdir(tmp_path)


def test_the_configurations_come_with_the_package() -> None:
    assert CONFIGS == [
        "demo-cpu",
        "demo-smollm2",
        "multi-gpu",
        "psychechat-8b",
        "psychechat-8b-four-gpus",
        "single-gpu",
    ]


@pytest.mark.parametrize("config", CONFIGS)
def test_every_configuration_builds_by_name_and_as_arguments(config: str) -> None:
    assert isinstance(build({"config": config}), Application)
    written = yaml.safe_load((FOLDER / f"{config}.yaml").read_text())
    assert isinstance(build(written), Application)
    assert Settings.model_validate(written) == load(config)


@pytest.mark.parametrize("config", CONFIGS)
def test_only_the_demos_are_open_to_a_developer(config: str) -> None:
    """With the playground, what each stage made, and pages of this machine."""
    settings, is_demo = load(config), config.startswith("demo-")
    assert settings.ui == is_demo
    assert settings.policy.show_stages == is_demo
    assert list(settings.cors.origins) == (["loopback"] if is_demo else [])


def test_a_file_of_ones_own_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("port: 9000")
    assert load(str(tmp_path / "mine.yaml")).port == 9000


def test_an_unknown_configuration_names_the_known_ones() -> None:
    with pytest.raises(FileNotFoundError, match="demo-cpu, demo-smollm2, multi-gpu, psychechat-8b, "):
        build({"config": "demo"})


def test_a_mistyped_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="counsellor"):
        build({"counsellor": {}})


def test_an_engine_that_cannot_hold_a_packs_prompts_does_not_start() -> None:
    settings = load("psychechat-8b")
    for engine, least in (("counselor", 11_264), ("llm-counselor", 2_048), ("seeker", 2_304)):
        published = next(prompt for prompt in _least_prompts(settings, engine) if prompt.pack == "packs/published")
        assert published.reserve >= least
        needed = published.reserve + sum(len(message.content) for message in published.messages)
        virtual_time.run(check_room(ScriptedGenerator(context_length=needed), published))
        with pytest.raises(SettingsError, match=rf"packs/published needs {needed} tokens .* is {needed - 1}:"):
            virtual_time.run(check_room(ScriptedGenerator(context_length=needed - 1), published))


def test_fewer_rounds_need_less_room() -> None:
    settings = load("psychechat-8b")
    fewer = Settings.model_validate(settings.model_dump() | {"policy": {"limits": {"rounds": 2}}})
    reserves = [list(_least_prompts(given, "counselor"))[-1].reserve for given in (settings, fewer)]
    assert reserves[0] - reserves[1] >= 3 * (512 + 512 + 1280)
