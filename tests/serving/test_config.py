from pathlib import Path

import pytest
from pydantic import ValidationError

from psychechat.config import Policy, Settings


def test_a_settings_file_survives_the_round_trip_through_json() -> None:
    assert Settings.model_validate_json(Settings().model_dump_json()) == Settings()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("hots: 127.0.0.1", "hots"),  # a misspelt key
        ("policy: {limits: {turn_seconds: 0}}", "turn_seconds"),
        ("policy: {risk: {ideation: 1.5}}", "ideation"),
        ("ingress: {num_replicas: 2}", "seen by one replica only"),
        ("policy: {routing: {sharp_shift: 2}}", "sharp_shift"),
        ("packs: {zh: zh}", "packs needs"),
    ],
)
def test_a_wrong_file_is_refused_with_the_name_of_what_is_wrong(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises(ValidationError, match=complaint):
        Settings.load(file)


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.touch()
    assert Settings.load(file) == Settings()


def test_a_crisis_table_needs_every_language() -> None:
    table = Policy().crisis.model_dump()
    table["template"] = {"en": "words"}
    with pytest.raises(ValidationError, match="template has no entry for 'zh'"):
        Policy.model_validate({"crisis": table})
