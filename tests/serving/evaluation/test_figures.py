"""The four figures by hand: as published, and corrected."""

from psychechat.evaluation.figures import Rating, as_published, corrected


def test_as_published_every_turn_counts_from_the_cards_score_on() -> None:
    told = [Rating(-4, 0), Rating(-1, 2, (1,)), Rating(-2, 1, (1,)), Rating(3, 1, (1, 7))]
    # falls: -3 to -4, -1 to -2; risks 0, 2, 1, 1; goals 1 and 7, whatever 7 is
    assert as_published(-3, told) == {"EIS": 6.0, "EDS": 0.5, "GAR": 1.0, "RLS": 1.0}


def test_corrected_what_was_before_a_reply_is_where_the_seeker_starts_from() -> None:
    told = [Rating(-4, 4), Rating(-1, 2, (1,)), Rating(-2, 1, (1,)), Rating(3, 0, (1, 7))]
    assert corrected(2, told) == {"EIS": 7.0, "EDS": 1 / 3, "GAR": 0.5, "RLS": 1.0}


def test_goals_are_of_the_cards_number() -> None:
    told = [Rating(0, 0), Rating(0, 0, (1, 2))]
    assert corrected(3, told)["GAR"] == 2 / 3
    assert as_published(0, told)["GAR"] == 1.0


def test_a_turn_that_only_ends_is_none_but_its_goals_are_reached() -> None:
    told = [Rating(-2, 0), Rating(1, 1), Rating(-9, 4, (2,), says=False)]
    assert corrected(2, told) == {"EIS": 3.0, "EDS": 0.0, "GAR": 0.5, "RLS": 1.0}
    assert as_published(-2, told)["EIS"] == -7.0


def test_what_nobody_rated_is_no_zero() -> None:
    told = [Rating(-1, None, None), Rating(-1, 3, None)]
    assert corrected(2, told) == {"EIS": 0.0, "EDS": 0.0, "GAR": None, "RLS": 3.0}
    assert as_published(-1, told)["GAR"] is None


def test_without_a_reply_there_is_nothing_to_tell() -> None:
    assert set(corrected(2, [Rating(-1, 0)]).values()) == {None}
    assert set(as_published(-1, []).values()) == {None}
