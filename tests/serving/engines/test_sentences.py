"""Where sentences begin and end, in chats as people write them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psychechat.engines.sentences import around, spans


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end in spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("I went home. My dog barked!", ["I went home. ", "My dog barked!"], id="English"),
        pytest.param("今天很好。我们走吧！好吗？", ["今天很好。", "我们走吧！", "好吗？"], id="Chinese"),
        pytest.param("it hurts. i went home", ["it hurts. ", "i went home"], id="lower case"),
        pytest.param("Mr. Tibbs ran 3.5 km.", ["Mr. Tibbs ran 3.5 km."], id="points that end nothing"),
        pytest.param("one line\nanother", ["one line\n", "another"], id="lines"),
        pytest.param("Well... :( \n\n!!!\nBye.", ["Well... :( \n\n!!!\n", "Bye."], id="signs go with what they follow"),
        pytest.param("She said (as always. I left.", ["She said (as always. ", "I left."], id="a bracket never closed"),
        pytest.param("“走吧。”他说。", ["“走吧。”", "他说。"], id="quotes"),
        pytest.param("😭 hi. 我走了。 ok", ["😭 hi. ", "我走了。 ", "ok"], id="both"),
        pytest.param("\ud83d hi. ok then", ["\ud83d hi. ", "ok then"], id="half an emoji"),
        pytest.param("...", ["..."], id="signs alone"),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert cut(text) == expected


@given(st.text(st.sampled_from('a.!?。！\n\r "“”()\u2028😭我') | st.characters(), max_size=60))
def test_nothing_is_left_out_and_nothing_told_twice(text: str) -> None:
    assert "".join(cut(text)) == text
    assert all(map(len, cut(text)))


@pytest.mark.parametrize("sign", ["“", "\"'“", "(", "(a. ", "!?。", "\n", "a", "a. ", "Mr. "])
def test_time_grows_with_the_text_alone(sign: str) -> None:
    """Four times the text takes four times as long, where it would be sixteen if each sign were looked at for each."""

    def seconds(length: int) -> float:
        began = time.thread_time()
        spans(sign * (length // len(sign)))
        return time.thread_time() - began

    short, long = (min(seconds(length) for _ in range(3)) for length in (8_000, 32_000))
    assert long < 9 * short + 0.02


def test_around_is_the_sentence_and_it_with_its_neighbours() -> None:
    text = "One here. Two there. Three now. Four then."
    assert around(text, spans(text), text.index("Two"), text.index("Two") + 3) == (
        "Two there.",
        "One here. Two there. Three now.",
    )
    assert around(text, spans(text), 0, 3) == ("One here.", "One here. Two there.")
    assert around(text, spans(text), text.index("Four"), len(text)) == ("Four then.", "Three now. Four then.")
    both = text.index("there"), text.index("now")
    assert around(text, spans(text), *both) == ("Two there. Three now.", text)
    assert around("no end", spans("no end"), 0, 6) == ("no end", "no end")
