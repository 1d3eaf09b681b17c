import pytest

from psychechat.pipeline.crisis import alarm, resources, safe_template
from psychechat.policy import Policy

CRISIS = Policy().crisis


@pytest.mark.parametrize(
    "text",
    [
        "I want to die",
        "i  WANT\nto die.",  # case and spacing
        "I don’t want to be alive",  # a typographic apostrophe
        "ｉ ｗａｎｔ ｔｏ ｄｉｅ",  # full width
        "I want to d\u200bie",  # a zero-width space
        "I keep thinking about suicide",
        "I want to end it all",
        "最近总想死",
        "不想 活 了",  # spaces between characters
        "我覺得不想活了",
    ],
)
def test_the_alarm_finds_a_phrase_however_it_was_typed(text: str) -> None:
    assert alarm(text, CRISIS.backstop)


@pytest.mark.parametrize("text", ["This homework is killing me", "我今天累得要命", "", "I want to diet"])
def test_the_alarm_is_quiet_otherwise(text: str) -> None:
    assert not alarm(text, CRISIS.backstop)


@pytest.mark.parametrize(
    ("locale", "contact"),
    [
        ("en-US", "988"),
        ("en_us", "988"),
        ("en_US.UTF-8", "988"),
        ("zh-Hans-CN", "12356"),
        ("zh-SG", "按国家和地区查询"),  # its language, where the region has no entry
        ("zh-CN", "12356"),
        (None, "findahelpline.com"),
        ("en-XX", "findahelpline.com"),
        ("../../etc", "findahelpline.com"),
    ],
)
def test_resources_are_those_of_the_locale_else_generic(locale: str | None, contact: str) -> None:
    assert contact in resources(CRISIS, "en", locale)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_safe_template_holds_its_words_and_the_resources(language: str) -> None:
    text = safe_template(CRISIS, language, None)  # type: ignore[arg-type]
    assert text.startswith(CRISIS.template[language])  # type: ignore[index]
    assert "findahelpline.com" in text
