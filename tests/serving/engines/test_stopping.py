import pytest
from hypothesis import given
from hypothesis import strategies as st

from psychechat.engines.stopping import StopStrings


def run(stops: list[str], pieces: list[str]) -> tuple[str, bool]:
    finder, said = StopStrings(stops), ""
    for piece in pieces:
        said += finder.feed(piece)
        if finder.hit:
            return said, True
    return said + finder.finish(), False


@pytest.mark.parametrize(
    ("stops", "pieces", "expected"),
    [
        ([], ["one ", "two"], ("one two", False)),
        (["."], ["One. Two."], ("One", True)),
        (["END"], ["say E", "N", "D now"], ("say ", True)),  # split over pieces
        (["END"], ["say EN", "OUGH"], ("say ENOUGH", False)),  # only looked like one
        (["END"], ["say EN"], ("say EN", False)),  # what was held back is not lost
        (["bc", "b"], ["abcd"], ("a", True)),  # the earliest counts
    ],
)
def test_text_before_the_first_stop(stops: list[str], pieces: list[str], expected: tuple[str, bool]) -> None:
    assert run(stops, pieces) == expected


@given(pieces=st.lists(st.text("ab", max_size=4)), stops=st.lists(st.text("ab", min_size=1, max_size=3), max_size=3))
def test_however_the_text_is_cut_the_result_holds_no_stop(pieces: list[str], stops: list[str]) -> None:
    text = "".join(pieces)
    said, hit = run(stops, pieces)
    assert text.startswith(said)
    assert not any(stop in said for stop in stops)
    assert hit or said == text
