"""Texts to windows and back, without an engine."""

from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from psychechat.emotion import Group
from psychechat.engines.vllm.windows import OVERLAP, WIDTHS, Windows, assess
from psychechat.risk import Severity, at_least, level

MAX_LEN = 100
START, END, PREFIX = 0, 1, 2


@pytest.fixture(scope="module")
def windows() -> Windows:
    """Every word w0 to w999 is a token, with the id of its number plus 10."""
    words = {"<s>": START, "</s>": END, "query:": PREFIX, "a": 3, "<unk>": 4} | {f"w{i}": i + 10 for i in range(1000)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", START), ("</s>", END)]
    )
    return Windows(tokenizer, "query: ", MAX_LEN)


def words(count: int) -> str:
    return " ".join(f"w{i}" for i in range(count))


def test_a_short_text_is_one_window(windows: Windows) -> None:
    assert windows.cut("w0 w1") == [[START, PREFIX, 10, 11, END]]


def test_an_empty_text_is_still_a_window(windows: Windows) -> None:
    assert windows.cut("") == [[START, PREFIX, END]]


def test_a_lone_surrogate_is_no_accident(windows: Windows) -> None:
    assert windows.cut("w0 \ud800 w1") == [[START, PREFIX, 10, 4, 11, END]]


@given(count=st.integers(0, 1000))
def test_windows_cover_everything_and_overlap(windows: Windows, count: int) -> None:
    cut = windows.cut(words(count))
    bodies = [window[2:-1] for window in cut]
    room = MAX_LEN - 3
    assert all(window[:2] == [START, PREFIX] and window[-1] == END for window in cut)
    assert {token for body in bodies for token in body} == set(range(10, 10 + count))
    assert all(len(body) == room for body in bodies) or len(bodies) == 1
    for left, right in pairwise(bodies):
        assert len(set(left) & set(right)) >= OVERLAP
    assert len(set(map(tuple, bodies))) == len(bodies)


def test_windows_without_room_for_text_are_refused() -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>"))
    with pytest.raises(ValueError, match="no room"):
        Windows(tokenizer, "", OVERLAP)


def distributions(width: int) -> st.SearchStrategy[list[float]]:
    parts = st.lists(st.integers(1, 1000), min_size=width, max_size=width)
    return parts.map(lambda counts: [count / sum(counts) for count in counts])


row = st.tuples(*map(distributions, WIDTHS)).map(lambda parts: list(chain.from_iterable(parts)))
rows: st.SearchStrategy[list[list[float]]] = st.lists(row, min_size=1, max_size=5)


@given(rows=rows, thresholds=st.lists(st.floats(0.05, 0.95), min_size=4, max_size=4))
def test_a_text_is_as_severe_as_its_most_severe_window(rows: list[list[float]], thresholds: list[float]) -> None:
    cumulative = dict(zip(list(Severity)[1:], thresholds, strict=True))
    together, apart = assess(rows).risk, [assess([row]).risk for row in rows]
    for severity in Severity:
        assert at_least(together, severity) == pytest.approx(max(at_least(one, severity) for one in apart))
        assert together[severity] >= -1e-12
    assert sum(together.values()) == pytest.approx(1)
    # A threshold within rounding of a probability could fall either way.
    if all(abs(at_least(one, s) - t) > 1e-9 for one in apart for s, t in cumulative.items()):
        assert level(together, cumulative) == max(level(one, cumulative) for one in apart)


@given(rows=rows)
def test_emotion_is_the_mean_of_the_windows(rows: list[list[float]]) -> None:
    groups = assess(rows).groups
    for i, group in enumerate(Group):
        assert sum(groups[group]) == pytest.approx(1)
        for column in range(4):
            assert groups[group][column] == pytest.approx(sum(row[4 * i + column] for row in rows) / len(rows))
