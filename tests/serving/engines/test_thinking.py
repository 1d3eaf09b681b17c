import pytest
from hypothesis import given
from hypothesis import strategies as st

from psychechat.engines.thinking import CLOSE, OPEN, ThinkingSplitter, ThinkingTokens, begun


def split(pieces: list[str], *, thinking: bool = True) -> tuple[str, str]:
    splitter = ThinkingSplitter(thinking)
    parts = [splitter.feed(piece) for piece in pieces] + [splitter.finish()]
    return "".join(part.reasoning for part in parts), "".join(part.content for part in parts)


@pytest.mark.parametrize(
    ("text", "reasoning", "content"),
    [
        pytest.param("<think>\nA plan.\n</think>\n\nHello.", "A plan.\n", "Hello.", id="the model opens it"),
        pytest.param("A plan.\n</think>\n\nHello.", "A plan.\n", "Hello.", id="the template opened it"),
        pytest.param("\n <think>A plan.</think>Hello.", "A plan.", "Hello.", id="white space before it"),
        pytest.param("<think></think>Hello.", "", "Hello.", id="empty"),
        pytest.param("A plan that never", "A plan that never", "", id="never closes"),
        pytest.param("A plan </thin", "A plan </thin", "", id="ends within the tag"),
        pytest.param("<thi", "<thi", "", id="ends within the opening tag"),
        pytest.param("a < b, </b> and <<//think> </think>x", "a < b, </b> and <<//think> ", "x", id="almost tags"),
        pytest.param("</think>one</think>two", "", "one</think>two", id="a second closing is content"),
        pytest.param("", "", "", id="nothing"),
    ],
)
def test_splits_however_the_text_is_cut(text: str, reasoning: str, content: str) -> None:
    assert split([text]) == (reasoning, content)
    assert split(list(text)) == (reasoning, content)
    for cut in range(len(text)):
        assert split([text[:cut], text[cut:]]) == (reasoning, content)


@given(st.lists(st.sampled_from(["<", "/", "think>", OPEN, CLOSE, "\n", " ", "word", "想"])))
def test_how_the_text_is_cut_never_changes_the_result(pieces: list[str]) -> None:
    assert split(pieces) == split(["".join(pieces)])


def test_without_thinking_all_is_content_at_once() -> None:
    splitter = ThinkingSplitter(thinking=False)
    assert splitter.feed("\n{").content == "\n{"
    assert splitter.feed("</think>").content == "</think>"
    assert splitter.finish() == ("", "")


def test_reasoning_streams_without_waiting_for_the_end() -> None:
    splitter = ThinkingSplitter(thinking=True)
    assert splitter.feed("<think>first ").reasoning == "first "
    assert splitter.thinking
    assert splitter.feed("second</think>").reasoning == "second"
    assert not splitter.thinking


@pytest.mark.parametrize(
    ("opening", "asked", "thinking"),
    [
        pytest.param("", True, True, id="as asked"),
        pytest.param("", False, False, id="as asked: none"),
        pytest.param("<think>\n", False, True, id="opened unasked"),
        pytest.param("<think>\nA plan.\n", False, True, id="begun unasked"),
        pytest.param("<think>\n\n</think>\n\n", True, False, id="closed unasked"),
        pytest.param("</think>\n", True, False, id="closed without an opening"),
    ],
)
@pytest.mark.parametrize("said", ["I am sad.", "<think>", "Why </think>?"])
def test_a_template_decides_whether_thinking_has_begun(said: str, opening: str, asked: bool, thinking: bool) -> None:
    """And what people write does not."""
    prompt = f"user: {said}\nsystem: Reply.\nassistant: {opening}"
    assert begun(prompt, " Reply.\n", asked) is thinking


@pytest.mark.parametrize(
    ("pieces", "count"),
    [
        pytest.param(["a", "</think>", "ĊĊ", "b"], 2, id="one token"),
        pytest.param(["a", "</", "think", ">ĊĊ", "b"], 4, id="several, the last with what follows"),
        pytest.param(["a", "</thi", "nk", "<", "/think", ">", "b"], 6, id="almost before"),
        pytest.param(["a", None, "</think>", "b"], 3, id="one beyond the vocabulary"),
        pytest.param(["a", "b"], 2, id="no end"),
        pytest.param(["</think>", "</think>"], 1, id="a second one is content"),
    ],
)
def test_tokens_are_the_thinkings_up_to_its_end(pieces: list[str | None], count: int) -> None:
    for cut in range(len(pieces) + 1):
        counter = ThinkingTokens(thinking=True)
        assert counter.feed(pieces[:cut]) + counter.feed(pieces[cut:]) == count
    assert ThinkingTokens(thinking=False).feed(pieces) == 0
