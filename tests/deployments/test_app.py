from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError
from ray.serve import Application

from psychechat.config import Settings
from psychechat_ray.app import build
from psychechat_ray.configurations import FOLDER, load

CONFIGS = sorted(file.stem for file in FOLDER.glob("*.yaml"))


def test_the_configurations_come_with_the_package() -> None:
    assert CONFIGS == ["demo-cpu", "demo-smollm2", "multi-gpu", "single-gpu"]


@pytest.mark.parametrize("config", CONFIGS)
def test_every_configuration_builds_by_name_and_as_arguments(config: str) -> None:
    assert isinstance(build({"config": config}), Application)
    written = yaml.safe_load((FOLDER / f"{config}.yaml").read_text())
    assert isinstance(build(written), Application)
    assert Settings.model_validate(written) == load(config)


def test_a_file_of_ones_own_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("port: 9000")
    assert load(str(tmp_path / "mine.yaml")).port == 9000


def test_an_unknown_configuration_names_the_known_ones() -> None:
    with pytest.raises(FileNotFoundError, match="demo-cpu, demo-smollm2, multi-gpu, single-gpu"):
        build({"config": "demo"})


def test_a_mistyped_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="counsellor"):
        build({"counsellor": {}})
