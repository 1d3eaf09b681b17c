"""Roles become engines and adapters: as the counselor, by themselves, by language; and what is refused."""

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from psychechat.config import ROLES, Part, Role, Settings
from psychechat.emotion import Language

TWO: dict[str, Any] = {"mild": {}, "ming": {}}
BY_LANGUAGE = {"en": "mild", "zh": "ming"}


def table(**given: Any) -> Mapping[Language, Mapping[Role, str]]:
    parts = Settings.model_validate(given).casting.parts
    return {language: {role: str(part) for role, part in of_one.items()} for language, of_one in parts.items()}


def test_without_roles_the_one_engine_has_them_all() -> None:
    written: list[dict[str, Any]] = [{}, {"counselor": {}}, {"engines": {"counselor": {}}}]
    for given in written:
        assert table(**given) == dict.fromkeys(("en", "zh"), dict.fromkeys(ROLES, "counselor"))
    assert table(engines={"mild": {}})["en"]["review"] == "mild"


def test_other_roles_follow_the_counselor_in_each_language() -> None:
    found = table(engines=TWO | {"judge": {}}, roles={"counselor": BY_LANGUAGE, "review": "judge"})
    others = [role for role in ROLES if role != "review"]
    assert {found["en"][role] for role in others} == {"mild"}
    assert {found["zh"][role] for role in others} == {"ming"}
    assert found["en"]["review"] == found["zh"]["review"] == "judge"


def test_a_role_may_have_an_adapter_in_one_language() -> None:
    engines = {"mild": {"adapters": {"warm": "/warm", "strict": "/strict"}}}
    settings = Settings.model_validate(
        {"engines": engines, "roles": {"reply": {"en": "mild/warm", "zh": "mild"}, "review": "mild/strict"}}
    )
    casting = settings.casting
    assert casting.part("reply", "en") == Part("mild", "warm")
    assert casting.part("reply", "zh") == casting.part("counselor", "en") == Part("mild")
    assert casting.part("review", "zh") == Part("mild", "strict")
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


def test_the_short_forms_are_engines_in_the_roles_of_their_names() -> None:
    engines = {"counselor": {"max_num_seqs": 8}, "seeker": {}}
    short = Settings.model_validate(engines)
    assert short == Settings.model_validate({"engines": engines, "roles": {name: name for name in engines}})
    assert short.casting.part("seeker", "zh") == Part("seeker")
    assert short.casting.part("emotion", "zh") == Part("counselor")
    assert list(Settings.model_validate({"seeker": {}}).engines) == ["counselor", "seeker"]
    assert list(Settings.model_validate({"counselor": {}, "seeker": None}).engines) == ["counselor"]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"engines": TWO, "counselor": {}}, r"write engines\.counselor in its place"),
        ({"roles": {"counselor": "seeker"}, "seeker": {}}, r"write engines\.seeker in its place"),
        ({"engines": TWO}, r"roles\.counselor is missing: name one of the engines mild, ming"),
        ({"engines": {}}, "at least 1 item"),
        ({"engines": TWO, "roles": {"counselor": {"en": "mild"}}}, r"roles\.counselor has no entry for zh"),
        ({"engines": TWO, "roles": {"counselor": BY_LANGUAGE | {"fr": "mild"}}}, r"roles\.counselor.*fr"),
        ({"engines": TWO, "roles": {"counselor": BY_LANGUAGE, "judge": "mild"}}, r"roles\.judge"),
        ({"roles": {"review": "mnig"}}, "names the engine 'mnig', and `engines` has counselor"),
        ({"roles": {"review": "counselor/warm"}}, r"engines\.counselor\.adapters has none"),
        ({"roles": {"review": "counselor/"}}, r"names the adapter ''"),
        # No role names a role, so there is no circle of them.
        ({"roles": {"review": "emotion", "emotion": "review"}}, "a role names no other role"),
        ({"engines": TWO, "roles": {"counselor": "mild"}}, r"engines\.ming plays no role: name it in `roles`"),
        ({"engines": {"mild": {"adapters": {"warm": "/w"}}}}, r"name mild/warm in `roles`, or leave it out"),
        ({"engines": {"classifier": {}}}, r"engines\.classifier has the name of another deployment"),
        ({"engines": {"a/b": {}}}, r"engines\.a/b"),
        ({"engines": {"mild": {"adapters": {"a/b": "/w"}}}}, r"adapters\.a/b"),
    ],
)
def test_what_cannot_be_resolved_is_refused_with_what_to_do(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Settings.model_validate(given)


def test_every_counselor_engine_has_a_lane_of_the_engines_that_its_turns_run_on() -> None:
    def lanes(**roles: Any) -> Mapping[str, set[str]]:
        names = {
            name for written in roles.values() for name in ([written] if isinstance(written, str) else written.values())
        }
        settings = Settings.model_validate({"engines": {name: {} for name in sorted(names)}, "roles": roles})
        return {lane: set(engines) for lane, engines in settings.casting.lanes.items()}

    assert lanes(counselor="a", seeker="b") == {"a": {"a", "b"}}
    assert lanes(counselor={"en": "a", "zh": "b"}, review="c") == {"a": {"a", "c"}, "b": {"b", "c"}}
    assert lanes(counselor={"en": "a", "zh": "b"}, review="a") == {"a": {"a"}, "b": {"a", "b"}}
    # One counselor is one lane, whatever its languages' other roles are.
    assert lanes(counselor="a", reply={"en": "b", "zh": "c"}) == {"a": {"a", "b", "c"}}
