"""A pack with weights of their own for a role says so where the settings have the counselor play it."""

from pathlib import Path
from typing import Any

import pytest

from psychechat import prompts
from psychechat.config import Settings
from psychechat.prompts.importer import import_pack
from psychechat.prompts.weights import notice
from tests.support.published import checkout, client


def told(pack: Path, **given: Any) -> str | None:
    settings = Settings.model_validate({"packs": {"en": "en", "zh": str(pack)}, **given})
    return notice(prompts.load_all(settings.packs), settings.casting)


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    import_pack(checkout(tmp_path, client()), tmp_path / "pack")
    return tmp_path / "pack"


def test_who_plays_a_role_that_is_not_named_is_said(pack: Path) -> None:
    alone = told(pack)
    assert alone is not None
    assert "in the roles reply and seeker" in alone
    assert f"{pack}" in alone
    assert "counselor answers these stages in conversations in 'zh'" in alone
    with_seeker = told(pack, counselor={}, seeker={})
    assert with_seeker is not None
    assert with_seeker.endswith("Name an engine or an adapter under roles: reply.")


def test_nothing_is_said_where_each_role_has_its_own(pack: Path) -> None:
    engines = {"agent": {"adapters": {"llm": "/llm"}}, "seeker": {}}
    roles = {"counselor": "agent", "reply": "agent/llm", "seeker": {"en": "agent", "zh": "seeker"}}
    assert told(pack, engines=engines, roles=roles) is None
    assert notice(prompts.load_all({"en": "en", "zh": "zh"}), Settings().casting) is None
