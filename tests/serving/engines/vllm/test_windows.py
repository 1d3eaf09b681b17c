"""Texts to windows and back, without an engine."""

import math
from dataclasses import replace
from itertools import chain, pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from psychechat.conversation import Act
from psychechat.emotion import Group
from psychechat.engines.vllm.windows import (
    DRAFT_TOKENS,
    DRAFT_WIDTHS,
    OVERLAP,
    SEEKER_TOKENS,
    SHORTEST,
    SUBJECT_WIDTHS,
    WIDTHS,
    Window,
    Windows,
    assess,
    chances,
    discounted,
    has_third_head,
    hurting,
)
from psychechat.help.subjects import Subject, likely
from psychechat.risk import Severity, at_least, level

MAX_LEN = 100
START, END, PREFIX = 0, 1, 2


def of_length(max_len: int, window: int | None = None) -> Windows:
    """Every word w0 to w999 is a token, with the id of its number plus 10."""
    words = {"<s>": START, "</s>": END, "query:": PREFIX, "a": 3, "<unk>": 4} | {f"w{i}": i + 10 for i in range(1000)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", START), ("</s>", END)]
    )
    return Windows(tokenizer, "query: ", max_len, window=window)


@pytest.fixture(scope="module")
def windows() -> Windows:
    return of_length(MAX_LEN)


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


def tokens(window: Window) -> list[list[int]]:
    return [window.ids[first : last + 1] for first, last in window.sentences]


def test_each_sentence_is_a_range_of_tokens(windows: Windows) -> None:
    """Special tokens and the prefix belong to none."""
    (window,) = windows.with_sentences("w0 w1 w2 w3. w4 w5 w6 w7 w8!\nw9 w10 w11 w12")
    assert window.ids == windows.cut("w0 w1 w2 w3. w4 w5 w6 w7 w8!\nw9 w10 w11 w12")[0]
    assert tokens(window) == [[10, 11, 12, 4], [14, 15, 16, 17, 4], [19, 20, 21, 22]]


@pytest.mark.parametrize("text", ["", "w0 w1 w2 w3 w4 w5 w6 w7", "w0 w1 w2 w3 w4 w5. ...", "Hi. w1 w2 w3 w4 w5"])
def test_one_sentence_is_the_whole_text(windows: Windows, text: str) -> None:
    (window,) = windows.with_sentences(text)
    assert window.sentences == ()


def test_what_is_too_short_goes_with_its_neighbour(windows: Windows) -> None:
    (window,) = windows.with_sentences("w0! w1! w2 w3 w4 w5 w6. w7 w8 w9 w10 w11. w12.")
    assert list(map(len, tokens(window))) == [7, 6]


@pytest.mark.parametrize("place", [0, 50, 95, 130, 199])
def test_the_window_that_holds_a_word_says_where(windows: Windows, place: int) -> None:
    """Every word is whole in one window, wherever it stands in the text."""
    text, word = words(200), f"w{place}"
    start = f"{text} ".index(f"{word} ")
    window, (first, last) = windows.holding(text, (start, start + len(word)))
    assert window.ids in windows.cut(text)
    assert window.ids[first : last + 1] == [place + 10]


def test_of_what_no_window_holds_whole_it_is_the_one_with_most(windows: Windows) -> None:
    text = words(300)
    window, (first, last) = windows.holding(text, (text.index("w90 "), text.index("w290 ")))
    assert last - first + 1 == len(window.ids) - 3, "all but the special tokens and the prefix"


@given(lengths=st.lists(st.integers(1, 150), max_size=30))
def test_the_sentences_of_a_window_cover_its_text_once(windows: Windows, lengths: list[int]) -> None:
    text = " ".join(" ".join(["w5"] * length) + "." for length in lengths)
    for window, ids in zip(windows.with_sentences(text), windows.cut(text), strict=True):
        assert window.ids == ids
        if window.sentences:
            assert list(chain.from_iterable(tokens(window))) == ids[2:-1]
            assert min(map(len, tokens(window))) >= SHORTEST


def body(first: int, count: int) -> list[int]:
    return list(range(first + 10, first + 10 + count))


def test_a_pair_is_one_sequence_and_its_span_the_draft(windows: Windows) -> None:
    """The prefix stands before the seeker's part; the draft has none."""
    pair = windows.pair("w0 w1. w2", "w7 w8. w9")
    assert pair.ids == [START, PREFIX, 10, 4, 12, END, END, 17, 4, 19, END]
    assert tokens(pair) == [[17, 4, 19]]


def test_a_pair_keeps_the_end_of_what_was_said_and_the_beginning_of_the_answer() -> None:
    pair = of_length(512).pair(words(300), words(400))
    said, answer = body(300 - SEEKER_TOKENS, SEEKER_TOKENS), body(0, DRAFT_TOKENS)
    assert pair.ids == [START, PREFIX, *said, END, END, *answer, END]
    assert tokens(pair) == [answer]


@given(
    max_len=st.integers(OVERLAP + 4, 300), seeker=st.integers(0, 300).map(words), draft=st.integers(0, 300).map(words)
)
def test_a_pair_fits_into_any_window(max_len: int, seeker: str, draft: str) -> None:
    """And shows of the draft twice what it shows of the seeker, if both are long."""
    pair = of_length(max_len).pair(seeker, draft)
    ((first, last),) = pair.sentences
    assert len(pair.ids) <= max_len
    assert first <= last < len(pair.ids)
    if draft:
        assert pair.ids[first : last + 1] == body(0, last - first + 1)
    if len(seeker.split()) > SEEKER_TOKENS and len(draft.split()) > DRAFT_TOKENS:
        assert len(pair.ids) == min(max_len, 5 + SEEKER_TOKENS + DRAFT_TOKENS)
        assert 2 * (first - 4) <= last - first + 1 <= 2 * (first - 4) + 2


@pytest.mark.parametrize("draft", ["", "  \n "])
def test_a_draft_of_no_token_has_a_span_all_the_same(windows: Windows, draft: str) -> None:
    """The kernel takes no empty one."""
    pair = windows.pair("w0", draft)
    assert pair.ids == [START, PREFIX, 10, END, END, END]
    assert pair.sentences == ((5, 5),)


def test_a_tokenizer_without_special_tokens_has_pairs_too() -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    plain = Windows(tokenizer, "", MAX_LEN)
    assert plain.pair("a a", "a") == Window([0, 0, 0], ((2, 2),))
    assert plain.pair("a a", "") == Window([0, 0], ((1, 1),))


def test_windows_without_room_for_text_are_refused() -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>"))
    with pytest.raises(ValueError, match="no room"):
        Windows(tokenizer, "", OVERLAP)


def distributions(width: int) -> st.SearchStrategy[list[float]]:
    parts = st.lists(st.integers(1, 1000), min_size=width, max_size=width)
    return parts.map(lambda counts: [count / sum(counts) for count in counts])


row = st.tuples(*map(distributions, WIDTHS)).map(lambda parts: list(chain.from_iterable(parts)))
rows: st.SearchStrategy[list[list[float]]] = st.lists(row, min_size=1, max_size=5)


texts: st.SearchStrategy[list[list[list[float]]]] = st.lists(rows, min_size=1, max_size=4)
"""Windows, of each first the whole and then its sentences."""


@given(windows=texts, thresholds=st.lists(st.floats(0.05, 0.95), min_size=4, max_size=4))
def test_a_text_is_as_severe_as_its_most_severe_reading(
    windows: list[list[list[float]]], thresholds: list[float]
) -> None:
    """Of all windows and all their sentences, whatever the thresholds."""
    cumulative = dict(zip(list(Severity)[1:], thresholds, strict=True))
    looks = chances(sum(len(rows) - 1 for rows in windows))
    together = assess(windows)
    apart = [discounted(assess([[row]]).risk, looks) for row in chain.from_iterable(windows)]
    for severity in Severity:
        assert together.at_least(severity) == pytest.approx(max(at_least(one, severity) for one in apart))
    assert together.severity(cumulative) == max(level(one, cumulative) for one in apart)
    assert together.decided_by(cumulative) in apart
    assert all(sum(risk.values()) == pytest.approx(1) for risk in apart)
    assert level(together.decided_by(cumulative), cumulative) == together.severity(cumulative)
    assert len(together.other_risks) < len(Severity) - 1


def test_of_many_sentences_the_worst_counts_for_less() -> None:
    """By half the odds: of one or two nothing, and of fifty no more than of three."""
    row = [0.25] * sum(WIDTHS[:-1]) + [0.1, 0.1, 0.4, 0.2, 0.2]
    crisis = {n: assess([[row] * (1 + n)]).at_least(Severity.IDEATION) for n in (0, 2, 3, 50)}
    assert crisis[0] == crisis[2] == pytest.approx(0.8)
    assert crisis[3] == crisis[50] == pytest.approx(0.8 / (0.8 + 2 * 0.2))


@pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 0), (1, 2)])
def test_a_reading_that_is_no_number_is_seen(place: tuple[int, int]) -> None:
    """Whichever it is: beside it the others must not pass for all there is."""
    calm = [1 / width for width in WIDTHS for _ in range(width)]
    windows = [[list(calm) for _ in range(3)] for _ in range(2)]
    assert assess(windows).is_finite
    windows[place[0]][place[1]] = [math.nan] * len(calm)
    assert not assess(windows).is_finite


@given(windows=texts)
def test_emotion_is_the_mean_of_the_whole_windows(windows: list[list[list[float]]]) -> None:
    groups = assess(windows).groups
    for i, group in enumerate(Group):
        assert sum(groups[group]) == pytest.approx(1)
        for column in range(4):
            of_windows = [window[0][4 * i + column] for window in windows]
            assert groups[group][column] == pytest.approx(sum(of_windows) / len(windows))


@given(windows=texts)
def test_a_third_head_changes_nothing_of_an_assessment(windows: list[list[list[float]]]) -> None:
    wider = [[[*row, 0.25, 0.75] for row in rows] for rows in windows]
    assert assess(wider) == assess(windows)


BEFORE = (0.5, 0.5, 0.9, 0.07, 0.03)
"""Columns of the third head and the fourth."""


@given(windows=texts)
def test_a_fifth_head_tells_what_the_whole_does(windows: list[list[list[float]]]) -> None:
    telling, greeting = (0.94, *[0.01] * 6), (0.04, 0.91, *[0.01] * 5)
    wider = [[[*row, *BEFORE, *telling] for row in rows] for rows in windows]
    assert replace(assess(wider), acts={}, asks={}) == assess(windows)
    assert set(assess(wider).acts) == set(get_args(Act))
    assert assess(wider).act is None
    for rows, plain in zip(wider, windows, strict=True):
        rows[0] = [*plain[0], *BEFORE, *greeting]
    assert assess(wider).acts["greeting"] == pytest.approx(0.91)
    assert assess(wider).act == "greeting"


@given(windows=texts)
def test_a_sixth_head_tells_what_the_whole_is_about(windows: list[list[list[float]]]) -> None:
    before = (*BEFORE, 0.94, *[0.01] * 6)
    nothing, work = (0.86, *[0.01] * 14), (*[0.01] * 6, 0.86, *[0.01] * 8)
    wider = [[[*row, *before, *nothing] for row in rows] for rows in windows]
    assert sum(SUBJECT_WIDTHS) == len(wider[0][0])
    assert replace(assess(wider), subjects={}, acts={}, asks={}) == assess(windows)
    assert tuple(assess(wider).subjects) == get_args(Subject)
    assert likely(assess(wider).subjects) is None
    for rows, plain in zip(wider, windows, strict=True):
        rows[0] = [*plain[0], *before, *work]
    assert likely(assess(wider).subjects) == "work"


@given(windows=texts)
def test_a_sentence_that_greets_is_no_greeting_of_the_whole(windows: list[list[list[float]]]) -> None:
    telling, greeting = (0.94, *[0.01] * 6), (0.04, 0.91, *[0.01] * 5)
    wider = [[[*row, *BEFORE, *(greeting if i else telling)] for i, row in enumerate(rows)] for rows in windows]
    assert assess(wider).act is None


@given(windows=texts)
def test_a_fourth_head_tells_what_any_reading_asks(windows: list[list[list[float]]]) -> None:
    calm, asking = (0.5, 0.5, 0.9, 0.07, 0.03), (0.5, 0.5, 0.1, 0.7, 0.2)
    wider = [[[*row, *calm] for row in rows] for rows in windows]
    assert replace(assess(wider), asks={}) == assess(windows)
    assert assess(wider).asks == {"identity": 0.07, "person": 0.03}
    assert assess(wider).asked is None
    wider[-1][-1] = [*windows[-1][-1], *asking]
    assert assess(wider).asks == {"identity": 0.7, "person": 0.2}
    assert assess(wider).asked == "identity"


def test_of_a_pair_the_draft_s_last_column_counts() -> None:
    row = [0.0] * sum(WIDTHS)
    assert hurting([[*row, 0.9, 0.1], [*row, 0.25, 0.75]]) == 0.75
    assert hurting([[*row, 0.9, 0.1, 0.0, 0.0, 1.0], [*row, 0.25, 0.75, 0.0, 1.0, 0.0]]) == 0.75


def test_a_folder_has_two_heads_three_four_or_five() -> None:
    assert not has_third_head([4] * 8 + [5], "last")
    assert has_third_head([4] * 8 + [5, 2], "mean")
    assert has_third_head([4] * 8 + [5, 2, 3], "mean")
    assert has_third_head([4] * 8 + [5, 2, 3, 7], "mean")
    for wrong in ([4] * 8 + [5, 3], [4] * 8 + [5, 2, 7], [2], [4] * 9 + [5]):
        with pytest.raises(ValueError, match="must be one of"):
            has_third_head(wrong, "mean")
    with pytest.raises(ValueError, match="mean of a draft's tokens"):
        has_third_head(DRAFT_WIDTHS, "last")


def test_a_texts_windows_may_be_shorter_than_a_pair() -> None:
    """What heads learned from was short; a draft behind what it answers still fits whole."""
    long, short = of_length(300), of_length(300, window=100)
    assert {len(window) for window in short.cut(words(250))} == {100}
    assert short.pair(words(20), words(150)) == long.pair(words(20), words(150))
    assert short.cut(words(30)) == long.cut(words(30))
