"""Values at rest: whole round trips, and nothing else that opens."""

import json
import secrets
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psychechat.config import MemoryKeys
from psychechat.conversation import (
    Draft,
    EmotionAnalysis,
    EmotionMemory,
    PastTurn,
    Reaction,
    Review,
    Round,
    Verdict,
)
from psychechat.emotion import Group, Label
from psychechat.memory.base import Unreadable
from psychechat.memory.vault import _JSON, Vault

PLACE = b"p" * 32
MEMORY = EmotionMemory("session", "en", (Label(Group.JOY, 2),), EmotionAnalysis((Label(Group.FEAR, 1),), "analysis"))


def keys(*names: str, **known: str) -> MemoryKeys:
    """The first seals."""
    made = {name: known.get(name, secrets.token_hex(32)) for name in names}
    return MemoryKeys.model_validate({"index": "0" * 64, "encrypt_with": names[0], "keys": made})


VAULT = Vault(keys("one"))

labels = st.lists(st.builds(Label, st.sampled_from(Group), st.integers(1, 3)), max_size=3).map(tuple)
analyses = st.builds(EmotionAnalysis, labels, *[st.text(max_size=2_000)] * 4)
memories = st.builds(
    EmotionMemory,
    st.text(max_size=256),
    st.sampled_from(["en", "zh"]),
    st.none() | labels,
    st.none() | analyses,
)


@given(place=st.binary(min_size=32, max_size=32), memory=memories)
def test_what_is_sealed_is_what_is_unsealed(place: bytes, memory: EmotionMemory) -> None:
    assert VAULT.unseal(place, VAULT.seal(place, memory)) == memory


def test_turns_that_are_shown_again_come_back_whole_and_values_of_before_have_none() -> None:
    made = Round(
        Draft("insight", "plan", "reply", "thought"),
        (Reaction("silent", "…"),),
        Review((Verdict("a", True),), True, "warmer", ""),
    )
    memory = replace(
        MEMORY, analysis_age=3, turns=(PastTurn("ab12", MEMORY.analysis, (made,)), PastTurn("cd", thinking="t"))
    )
    assert VAULT.unseal(PLACE, VAULT.seal(PLACE, memory)) == memory
    before = {
        key: value for key, value in json.loads(_JSON.dump_json(MEMORY)).items() if key not in ("turns", "analysis_age")
    }
    assert _JSON.validate_json(json.dumps(before)) == MEMORY


@given(damaged=st.data())
def test_a_value_with_any_byte_changed_or_cut_off_does_not_open(damaged: st.DataObject) -> None:
    value = bytearray(VAULT.seal(PLACE, MEMORY))
    at = damaged.draw(st.integers(0, len(value) - 1))
    value[at] ^= damaged.draw(st.integers(1, 255))
    for wrong in (bytes(value), VAULT.seal(PLACE, MEMORY)[:at]):
        with pytest.raises(Unreadable):
            VAULT.unseal(PLACE, wrong)


@given(garbage=st.binary(max_size=64) | st.binary(max_size=64).map(lambda rest: b"\x01\x03one" + rest))
def test_what_we_never_wrote_does_not_open(garbage: bytes) -> None:
    with pytest.raises(Unreadable):
        VAULT.unseal(PLACE, garbage)


def test_a_value_opens_nowhere_else() -> None:
    with pytest.raises(Unreadable):
        VAULT.unseal(b"q" * 32, VAULT.seal(PLACE, MEMORY))


def test_a_value_of_a_later_version_does_not_open() -> None:
    value = VAULT.seal(PLACE, MEMORY)
    with pytest.raises(Unreadable, match="version"):
        VAULT.unseal(PLACE, bytes([value[0] + 1]) + value[1:])


def test_keys_are_rotated_without_losing_a_value() -> None:
    """As the operator does it: add, switch, take out. Replicas may be one step apart."""
    old, new = secrets.token_hex(32), secrets.token_hex(32)
    steps = [
        Vault(keys("old", old=old)),
        Vault(keys("old", "new", old=old, new=new)),
        Vault(keys("new", "old", old=old, new=new)),
        Vault(keys("new", new=new)),
    ]
    for behind, ahead in pairwise(steps):
        assert ahead.unseal(PLACE, behind.seal(PLACE, MEMORY)) == MEMORY
        assert behind.unseal(PLACE, ahead.seal(PLACE, MEMORY)) == MEMORY
    with pytest.raises(Unreadable, match="a key that is not in"):
        steps[3].unseal(PLACE, steps[0].seal(PLACE, MEMORY))
    with pytest.raises(Unreadable):
        Vault(keys("old", old=new)).unseal(PLACE, steps[0].seal(PLACE, MEMORY))


def test_the_length_does_not_tell_which_mode_a_turn_took() -> None:
    short = VAULT.seal(PLACE, EmotionMemory("session", "en"))
    analysis = EmotionAnalysis((Label(Group.FEAR, 1),), *["a" * 200] * 4)
    assert len(short) == len(VAULT.seal(PLACE, EmotionMemory("session", "en", None, analysis)))


def test_two_seals_of_one_value_have_nothing_in_common() -> None:
    first, second = VAULT.seal(PLACE, MEMORY), VAULT.seal(PLACE, MEMORY)
    assert first[5 + 12 :] != second[5 + 12 :]
    assert first[5:17] != second[5:17]


def test_keys_are_not_shown() -> None:
    secret = "ab" * 32
    assert secret not in repr(keys("one", one=secret))
    assert repr(bytes.fromhex(secret)) not in repr(keys("one", one=secret))


def test_a_value_of_before_or_after_is_read_as_far_as_it_is_known() -> None:
    """Replicas of two releases share one Redis while an update rolls."""
    value = {"session_id": "s", "language": "en", "labels": None, "analysis": None}
    assert _JSON.validate_python(value) == EmotionMemory("s", "en")
    later = value | {"unheard_of": 1, "risk": {"held": True, "unheard_of": 2}}
    assert _JSON.validate_json(json.dumps(later)).risk.held
