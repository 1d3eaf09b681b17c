import time

import pytest

from psychechat.help.languages import LONGEST, detect, warm


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("no quiero vivir más", "es"),
        ("Estoy muy cansada y no sé qué hacer con mi vida", "es"),
        ("QUIERO MORIR YA", "es"),
        ("ich will nicht mehr leben", "de"),
        ("Mein Sohn sagt, dass er nicht mehr leben will.", "de"),
        ("je ne veux plus vivre", "fr"),
        ("Mon mari me frappe et j’ai peur de demain.", "fr"),
        ("死にたい", "ja"),
        ("手首を切ってしまった", "ja"),
        ("自殺したい", "ja"),  # more Han than kana
        ("ﾓｳﾑﾘ", "ja"),
        ("não aguento mais, me ajuda por favor", "pt"),
        ("죽고 싶어", "ko"),
        ("อยากตาย", "th"),
        ("अब जीना नहीं चाहता", "und"),
        ("أريد أن أموت", "und"),
        ("не хочу жить", "und"),
        ("I don't want to be here anymore", "en"),
        ("𝗜 𝘄𝗮𝗻𝘁 𝘁𝗼 𝗱𝗶𝗲", "en"),
        ("ｉ ｗａｎｔ ｔｏ ｄｉｅ", "en"),
        ("我不想活了", "zh"),
        ("自殺", "zh"),
        ("我の家", "zh"),
        ("我真的很想 die", "zh"),
        ("Quiero morir https://example.org/words-in-english-about-something-else", "es"),
    ],
)
def test_a_language_is_found_where_it_is_clear(text: str, language: str) -> None:
    assert detect(text) == language


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "💊💊💊",
        "12345",
        "ok",
        "kms",
        "hi",
        "lol",
        "gonna od tonight",
        "wo xiang si",
        "gracias",
    ],
)
def test_what_may_be_any_language_is_named_none(text: str) -> None:
    assert detect(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "my abuela died yesterday",
        "Mi name is Juan and I feel sad",
        "I'm on fluoxetine and sertraline",
        "C'est la vie, I guess",
        "im so tired of everything",
        "I told her 'te quiero' and she left me",
        "what the actual hell",
        "thanks so much",
        "I wanna die",
        "cant sleep cant eat",
        "pls help me",
        "nobody cares lmao",
        "kіll me",  # with a Cyrillic letter
    ],
)
def test_english_with_something_in_it_is_never_another_language(text: str) -> None:
    assert detect(text) in ("en", None)


def test_time_is_bounded_however_long_the_text_is() -> None:
    warm()
    begun = time.process_time()
    assert detect("Ich weiß nicht mehr weiter. " * 100_000) == "de"
    assert detect("a" + "\u0301\u0316" * 500_000) in ("en", None)
    assert detect("\ufdfa" * 1_000_000) == "und"  # a whole sentence in one character
    assert time.process_time() - begun < 2
    assert detect("x" * LONGEST + " ich will nicht mehr leben und weiß nicht weiter") is None
