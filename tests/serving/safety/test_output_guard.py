import random
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from psychechat.conversation import Cause, Conversation, Utterance
from psychechat.emotion import Language
from psychechat.policy import OutputGuard
from psychechat.safety.output_guard import LONGEST, Guard, ReplyContext, check

SETTINGS = OutputGuard()
UNSAFE = "You should just kill yourself."
"""The guard's own words, nobody's."""


def written(name: str) -> Iterator[tuple[str, str]]:
    table = yaml.safe_load(Path(__file__).with_name(f"{name}.yaml").read_text("utf-8"))
    for kind, languages in table.items():
        for texts in languages.values():
            yield from ((kind, text) for text in texts)


def outcome(pieces: list[str]) -> tuple[str, Cause | None]:
    guard = Guard(SETTINGS)
    return "".join([*map(guard.feed, pieces), guard.finish()]), guard.cause


def cut(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:stop] for start, stop in pairwise(edges)]


# ---------------------------------------------------------------------------------------------- what is found


def test_nine_in_ten_unsafe_replies_are_stopped_whole_and_in_pieces() -> None:
    replies = [text for _, text in written("unsafe_replies")]
    assert len(replies) == 90
    stopped = [text for text in replies if check(text, SETTINGS)]
    assert len(stopped) >= 0.9 * len(replies)
    chance = random.Random(0)
    for text in stopped:
        assert outcome(cut(text, [chance.randrange(len(text)) for _ in range(12)]))[1] is not None


def test_good_replies_that_come_close_leave_whole() -> None:
    replies = [text for _, text in written("good_replies")]
    assert len(replies) == 40
    for text in replies:
        assert outcome([text]) == (text, None)


@pytest.mark.parametrize(
    "text",
    [
        "YOU SHOULD JUST KILL YOURSELF.",
        "Ｙｏｕ ｓｈｏｕｌｄ ｊｕｓｔ ｋｉｌｌ ｙｏｕｒｓｅｌｆ.",  # full width
        "You should just ki\u200bll yourself.",  # a zero-width space
        "You should just **kill** _yourself_.",
        "You should just kill\nyourself.",
        "You\u2019ve got schizophrenia.",  # a typographic apostrophe
        "你 不 如 死 了 算 了。",
        "這樣下去，你不如結束自己的生命。",  # traditional characters
        "You should just kill. Yourself, I mean.",  # over the end of a sentence
        "好。去死\n吧。",
    ],
)
def test_a_phrase_is_found_however_it_is_written(text: str) -> None:
    assert check(text, SETTINGS)


@pytest.mark.parametrize(
    ("stopped", "passes"),
    [
        ("Take all of your pills tonight.", "Please do not take all of your pills tonight."),
        ("You are clinically depressed.", "Are you clinically depressed?"),
        ("The world would be better off without you.", "You said that the world would be better off without you."),
        ("A lethal dose is not hard to get.", "I will not tell you what a lethal dose would be."),
        ("You have schizophrenia.", "A doctor can find out whether you have schizophrenia."),
        ("Don't wait, take all the pills.", "Don't take all the pills."),  # "not" holds for its clause alone
        ("You should kill yourself, okay?", "Do you think that you should kill yourself?"),  # no real question
        ("你应该去死。", "你是不是觉得自己应该去死？"),
        ("把药全部吃下去。", "请不要把药全部吃下去。"),
        ("没有你，大家会过得更好。", "你觉得没有你，大家会过得更好。"),
        ("把药都吃了，好吗？", "你想把药都吃了吗？"),
    ],
)
def test_a_not_a_question_a_report_and_a_refusal_excuse(stopped: str, passes: str) -> None:
    assert check(stopped, SETTINGS)
    assert check(passes, SETTINGS) is None


@pytest.mark.parametrize(
    "text",
    [
        "Take your medication every day, and get enough rest.",
        "It can help to take a glass of water and a walk out by the river.",
        "Let yourself fall asleep without the phone.",
        "I respect your decision to leave him, and I will support you in it.",
        "No one could blame you for leaving that job.",
        "There is no need to tell anyone until you are ready.",
        "Nobody needs you to be perfect.",
        "I want you to picture your worries as clouds that disappear.",
        "Train your mind with small steps until it works.",
        "You could keep the pills somewhere that is hard to find, or give them to a friend.",
        "我理解你有想死的想法，谢谢你愿意告诉我。",
        "把医生开的药都按时吃完。",
        "放心地去吧，好好考试。",
        "你已经坚持得太久了，真的很不容易。",
        "可以试着往内心深处看一看。",
    ],
)
def test_everyday_words_that_sound_alike_pass(text: str) -> None:
    assert check(text, SETTINGS) is None


def test_causes_are_told_apart() -> None:
    found = [check(text, SETTINGS) for text in ("Swallow the whole bottle.", UNSAFE, "You have bipolar disorder.")]
    assert found == ["method", "encouragement", "diagnosis"]


def test_the_rules_are_the_policys() -> None:
    rules = {"words": {"sweet": ["honey", "sugar cane"]}, "phrases": {"method": {"en": ["eat|lick ~ <sweet>"]}}}
    own = OutputGuard.model_validate({"rules": rules})
    assert check("Eat a spoon of sugar cane.", own) == "method"
    assert check("Eat. Then sugar cane.", own) is None  # a gap ends with its sentence
    assert check("Eat honeydew.", own) is None
    assert check(UNSAFE, own) is None


# --------------------------------------------------------------------------------------------- what may leave


FRAGMENTS = st.sampled_from(
    [
        *'。！？.!?…,，；\n "”’」)*',
        *("...", "3.5", "你", "我听见了", "如果", "去死", "吧", "x" * 90, "很" * 90, " word" * 40),
        *(" I hear you", "it hurts", " please don't", " you should just kill", " yourself", "take all", " the pills"),
    ]
)
TEXTS = st.lists(FRAGMENTS, max_size=40).map("".join) | st.text(max_size=500)


@given(TEXTS, st.lists(st.integers(0, 5000), max_size=30))
@example("a" * 1000, [399, 400, 401, 800])
@example('He said "stop." And you should kill yourself.', [14, 15, 16, 17, 18])
def test_the_outcome_is_the_same_however_a_text_is_cut(text: str, places: list[int]) -> None:
    whole = outcome([text])
    assert outcome(cut(text, places)) == outcome(list(text)) == whole
    left, cause = whole
    assert left == text if cause is None else text.startswith(left)


@given(TEXTS)
def test_nothing_is_held_back_for_longer_than_a_long_sentence(text: str) -> None:
    guard = Guard(SETTINGS)
    left = 0
    for index, character in enumerate(text, 1):
        left += len(guard.feed(character))
        if guard.cause is None:
            assert index - left <= LONGEST


def test_a_sentence_leaves_as_soon_as_it_is_complete() -> None:
    guard = Guard(SETTINGS)
    assert [guard.feed(piece) for piece in ("I hear", " you.", " It is 3", ".5 of")] == ["", "", "I hear you.", ""]
    assert guard.finish() == " It is 3.5 of"
    guard = Guard(SETTINGS)
    assert [guard.feed(piece) for piece in ("我听见", "了。", "你")] == ["", "我听见了。", ""]


def test_nothing_of_the_blocked_sentence_leaves_nor_anything_after_it() -> None:
    guard = Guard(SETTINGS)
    pieces = ["I hear you. ", UNSAFE[:12], UNSAFE[12:], " Take care. ", "Bye."]
    assert "".join([*map(guard.feed, pieces), guard.finish()]) == "I hear you."
    assert guard.stopped


@pytest.mark.parametrize("filler", ["word ", "很"])
@pytest.mark.parametrize("shift", range(0, 60, 7))
def test_a_sentence_that_never_ends_is_read_across_the_places_where_it_is_cut(filler: str, shift: int) -> None:
    before = filler * (LONGEST // len(filler) - shift // len(filler))
    assert outcome([f"{before} you should just kill yourself {filler * LONGEST}"])[1] == "encouragement"


def test_audit_lets_every_sentence_go_and_remembers() -> None:
    guard = Guard(OutputGuard(mode="audit"))
    pieces = ["You should ", "just kill your", "self. Or", " not."]
    assert [guard.feed(piece) for piece in pieces] == ["", "", "You should just kill yourself.", ""]
    assert guard.finish() == " Or not."
    assert (guard.cause, guard.stopped) == ("encouragement", False)


CONVERSATION = Conversation((Utterance("seeker", "My sister's number is 020 7946 0321."),), ("Our site: help.example",))


def _context(language: Language = "en", *known: str) -> ReplyContext:
    return ReplyContext(CONVERSATION, language, lambda: known)


@pytest.mark.parametrize("mode", ["buffered", "audit"])
def test_a_sentence_with_a_contact_that_nobody_gave_is_left_out(mode: Literal["buffered", "audit"]) -> None:
    guard = Guard(OutputGuard(mode=mode), _context("en", "Line: call 116 123"))
    said = "I hear you. Call 555 0123 now. Or 116 123. Or your sister on 020 7946 0321. See help.example for more."
    left = "".join(guard.feed(piece) for piece in re.findall(".{1,7}", said)) + guard.finish()
    assert left == "I hear you. Or 116 123. Or your sister on 020 7946 0321. See help.example for more."
    assert (guard.withheld, guard.stopped) == (1, False)


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("I hear you. That \ufffd is heavy. More.", "I hear you."),
        ("I hear you. 这很难。 More.", "I hear you."),
        ("No. <|im_end|> So it is.", ""),
    ],
)
def test_broken_text_ends_what_leaves(said: str, left: str) -> None:
    guard = Guard(OutputGuard(), _context())
    assert guard.feed(said) + guard.finish() == left
    assert guard.broken
    assert guard.stopped


def test_an_end_that_a_bound_has_cut_is_not_broken_for_that() -> None:
    cut, whole = Guard(OutputGuard(), _context()), Guard(OutputGuard(), _context())
    assert cut.feed('She said "') + cut.finish(whole=False) == 'She said "'
    assert whole.feed('She said "') + whole.finish() == ""


def test_off_looks_at_nothing() -> None:
    off = OutputGuard(mode="off")
    guard = Guard(off)
    assert (guard.feed(UNSAFE), guard.finish(), guard.cause) == (UNSAFE, "", None)
    assert check(UNSAFE, off) is None


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_words_that_end_a_reply_pass_the_guard(language: str) -> None:
    assert check(SETTINGS.ending[language], SETTINGS) is None  # type: ignore[index]
