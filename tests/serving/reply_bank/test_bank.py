"""What a bank's file may hold, which topics it finds, and what the built-in ones would say."""

from itertools import product
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import ValidationError

from psychechat.emotion import Language
from psychechat.help.fixed_words import words
from psychechat.policy import Policy
from psychechat.reply_bank import Bank, load, load_all
from psychechat.risk import Kind, Severity
from psychechat.safety import risk_questions
from psychechat.safety.replies import crisis_reply
from psychechat.safety.replies.bank_replies import notice, stopped
from psychechat.safety.replies.broken_text import repeats

LEAST = {"language": "en", "crisis": {"unknown": ["A?"]}, "heavy": ["B."], "open": ["C."]}


def bank(**more: object) -> Bank:
    return Bank.model_validate({**LEAST, **more})


def topic(subject: str, *words: str) -> dict[str, object]:
    return {"subject": subject, "words": words, "any": ["Go on."]}


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"open": []}, id="nothing to say"),
        pytest.param({"open": ['He said "no".']}, id="a quotation mark, which no draft can hold"),
        pytest.param({"open": ["One line.\nTwo."]}, id="two lines"),
        pytest.param({"open": ["[sighs] Go on."]}, id="what a reply that is another stage's JSON begins with"),
        pytest.param({"open": ["So </think> it is."]}, id="a tag"),
        pytest.param({"open": ["x" * 301]}, id="more than a draft has room for"),
        pytest.param({"topics": {"x": topic("work", " *")}}, id="no words"),
        pytest.param({"acts": {"singing": ["La."]}}, id="an act that nobody tells"),
        pytest.param({"topics": {"x": topic("weather", "rain")}}, id="a subject that nobody tells"),
        pytest.param({"topics": {"x": topic("work", "b*ss")}}, id="an ending amid a word"),
    ],
)
def test_what_no_bank_may_hold(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        bank(**wrong)


def test_a_bank_comes_by_name_or_as_a_file(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump(LEAST))
    assert load(file).open == ("C.",)
    assert load("zh").language == "zh"
    with pytest.raises(FileNotFoundError, match="expected a file, or one of en, zh"):
        load("fr")
    with pytest.raises(ValueError, match="'zh' says that its language is 'en'"):
        load_all({"zh": str(file)})


@pytest.mark.parametrize(
    ("message", "names"),
    [
        ("My BOSS shouted", ["boss"]),
        ("bossy people", []),
        ("two exams and a resit", ["exam"]),
        ("my dog’s birthday", ["birthday", "pet"]),
        ("The exam, and my dog died, says my boss", ["pet_died", "boss", "exam", "pet"]),
        ("x" * 3000 + " boss", []),
    ],
)
def test_which_topics_a_message_names(message: str, names: list[str]) -> None:
    topics = {
        "pet": topic("talking", "dog", "dog's"),
        "pet_died": topic("death", "dog died"),
        "boss": topic("work", "my boss", "boss"),
        "exam": topic("school", "exam*"),
        "birthday": topic("loneliness", "birthday"),
    }
    made = bank(topics=topics)
    assert made.named(message) == names


def test_chinese_words_are_found_anywhere() -> None:
    made = bank(language="zh", topics={"boss": topic("work", "老板")})
    assert made.named("我的老板又骂我") == ["boss"]


# ------------------------------------------------------------------------------------------- the built-in banks


@pytest.mark.parametrize("language", get_args(Language))
def test_no_reply_would_be_stopped(language: Language) -> None:
    """By what looks at a model's words before they leave; in a crisis behind its fixed words."""
    made = load(language)
    assert not list(stopped(made, Policy()))
    for place, text in made.replies:
        glad = place.endswith((".glad", ".joy", ".trust"))
        assert glad or not crisis_reply.celebrates(text), (place, text)


@pytest.mark.parametrize("language", get_args(Language))
def test_each_reply_repeats_nothing_of_the_fixed_words_of_its_crisis(language: Language) -> None:
    """Also where a kind has no replies of its own, and takes those of an unknown one."""
    told = words(language, Policy().crisis.words).opening
    for kind, is_sure in product((*get_args(Kind), None), (True, False)):
        for severity in (Severity.IDEATION, Severity.ATTEMPT):
            for text in load(language).crisis.of(kind, severity):
                assert not repeats(f"{told.of(kind, is_sure=is_sure)} {text}", language), text


def test_replies_that_would_be_stopped_are_named_by_their_place() -> None:
    made = bank(
        crisis={"unknown": ["Are you safe?", "What a wonderful plan!"]},
        topics={"x": topic("work", "boss")},
        open=["Call me on 555 867 5309.", "Go on.", "You clearly have bipolar disorder."],
    )
    told = notice([made], Policy())
    assert told is not None
    assert told.startswith("Reply banks: 3 would be stopped before they leave: en: crisis.unknown, 2 (")
    assert "open, 1 (" in told
    assert "open, 3 (" in told
    assert "wonderful" not in told


@pytest.mark.parametrize(("language", "yes", "no"), [("en", "yes", "no"), ("zh", "有", "没有")])
def test_what_is_asked_near_a_crisis_is_understood_when_it_is_answered(language: str, yes: str, no: str) -> None:
    dark = load(language).dark
    assert dark
    for text in dark:
        affirmed, denied = (risk_questions.answered(text, answer) for answer in (yes, no))
        assert affirmed, text
        assert denied, text
        severity = risk_questions.severity(affirmed, held=False)
        assert (severity, risk_questions.kind(affirmed, severity)) == (Severity.IDEATION, "thoughts"), text
        assert risk_questions.severity(denied, held=False) is Severity.NONE, text


@pytest.mark.parametrize("language", get_args(Language))
def test_no_other_reply_asks_what_the_rules_take_for_a_question_about_risk(language: Language) -> None:
    """Any answer to "What would you like to do?" would be a plan."""
    careful = ("crisis", "dark", "heavy", "held", "held_near")
    for place, text in load(language).replies:
        if place.split(".")[0] not in careful and (asked := risk_questions.answered(text, "x")):
            assert not any(risk_questions.is_about_risk(asked, held=held) for held in (False, True)), (place, text)


@pytest.mark.parametrize("language", get_args(Language))
def test_a_reply_asks_one_thing_and_stands_once_in_its_place(language: Language) -> None:
    said = list(load(language).replies)
    assert len(set(said)) == len(said)
    for place, text in said:
        assert text.count("?") + text.count("？") <= 1, (place, text)
    assert {place.split(".")[0] for place, _ in said} == set(Bank.model_fields) - {"language", "reviewed"}
