from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psychechat.help.resources import INTERNATIONAL, BadTable, Resource, doubts, find, notice, parse, shipped

TODAY = date(2026, 11, 28)
OLD = {
    "en": [{"name": "Emergency services", "contact": "your local emergency number"}],
    "en-US": [{"name": "Lifeline", "contact": "call 988"}],
    "zh": [{"name": "紧急服务", "contact": "当地急救或报警电话"}],
}


def row(**fields: object) -> Resource:
    return Resource.model_validate({"name": "Line", "contact": "call 1", "locale": "en-US", **fields})


@pytest.mark.parametrize(
    ("locale", "languages", "place"),
    [
        ("en-IN", ("en",), "en-IN"),
        ("es-US", ("en",), "es-US"),  # whatever the message is written in
        ("de-DE", ("en",), "de-DE"),
        ("ja-JP", ("en",), "ja-JP"),
        ("en_us", ("en",), "en-US"),
        ("en_US.UTF-8", ("zh",), "en-US"),
        ("de_AT@euro", ("en",), "de-AT"),
        ("zh-Hans-CN", ("zh",), "zh-CN"),
        ("zh-Hant-TW", ("zh",), "zh-TW"),
        ("zh-SG", ("zh",), "en-SG"),  # the numbers that work there, in another language
        ("tr-DE", ("tr",), "de-DE"),
        ("it-CH", ("fr",), "fr-CH"),  # several of the region: the one in the message's language
        ("de-US", ("es",), "es-US"),
        ("fr", ("en",), "fr"),
        ("fr-XX", ("en",), "fr"),  # its language, where nothing is known of the region
        ("fr-u-ca-gregory", ("en",), "fr"),  # an extension: a calendar, not Canada
        (None, ("es", "en"), "es"),
        (None, ("zh",), "zh"),
        (None, ("pt", "en"), "en"),
        (None, ("und",), INTERNATIONAL),
        (None, (), INTERNATIONAL),
        ("../../etc", ("en",), "en"),
        ("", ("en",), "en"),
    ],
)
def test_a_seeker_gets_the_rows_of_the_place(locale: str | None, languages: tuple[str, ...], place: str) -> None:
    assert find(shipped(), locale, *languages).place == place


@given(locale=st.none() | st.text(), language=st.text())
def test_whatever_a_client_says_there_is_someone_to_turn_to(locale: str | None, language: str) -> None:
    for table in (shipped(), parse(OLD)):
        assert find(table, locale, language).in_crisis().rows


def test_an_older_table_is_read_and_shown_whole() -> None:
    table = parse(OLD)
    assert find(table, "en-US", "en").in_crisis().text("Here:") == "Here:\n- Lifeline: call 988"
    assert find(table, "es-ES", "es").place == "en"
    assert table["zh"][0].language == "zh"
    assert [doubt.reason for doubt in doubts(table, TODAY)] == ["no source"]  # of the row that states a number


def test_a_crisis_shows_what_it_is_about_and_an_attempt_the_emergency_number_first() -> None:
    shown = find(shipped(), "en-GB", "en").in_crisis()
    assert [entry.topic for entry in shown.rows] == ["listening", "listening", "suicide", "emergency"]
    urgent = find(shipped(), "en-GB", "en").in_crisis(emergency_first=True)
    assert urgent.rows[0].topic == "emergency"
    assert sorted(urgent.rows, key=repr) == sorted(shown.rows, key=repr)
    assert "Shout: text 85258 (24/7)" in shown.text("Here:")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "no source"),
        ({"contact": "example.org"}, "no source"),
        ({"contact": "your local emergency number"}, None),
        ({"source": "https://example.org/help"}, "no date"),
        ({"source": "https://example.org/help", "verified_at": "2025-11-27"}, "stale"),
        ({"source": "https://example.org/help", "verified_at": "2025-11-28"}, None),
    ],
)
def test_a_row_is_doubted_without_a_source_without_its_date_and_after_a_year(
    fields: dict[str, object], reason: str | None
) -> None:
    assert row(**fields).doubt(TODAY) == reason


def test_the_start_says_where_rows_are_doubted_and_nothing_where_none_are() -> None:
    page = {"source": "https://example.org/help"}
    doubted = parse(
        {
            "en": [{"name": "a", "contact": "call 1"}, {"name": "b", "contact": "call 2", **page}],
            "de": [{"name": "c", "contact": "3 anrufen", **page, "verified_at": date(2020, 1, 1)}],
        }
    )
    assert notice(doubted, TODAY) == (
        "Crisis resources: of 3 rows 2 unverified (en) and 1 older than a year (de). "
        "`psychechat resources check` lists them."
    )
    assert notice(parse({"en": [{"name": "a", "contact": "1", **page, "verified_at": TODAY}]}), TODAY) is None


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ([], "a table of places"),
        ({}, "a table of places"),
        ({"en": "call 988"}, "en: expected a list of rows"),
        ({"en": []}, "en: expected a list of rows"),
        ({"en": ["call 988"]}, "en, row 1: expected name, contact"),
        ({"en": [{"name": "a", "contact": "1"}, {"name": "a"}]}, "en, row 2: contact is missing"),
        ({"en": [{"name": "a\nb", "contact": "1"}]}, "en, row 1: name is missing, or not one line"),
        ({"en": [{"name": "a", "contact": "1", "phone": "2"}]}, "en, row 1: there is no field phone"),
        ({"en": [{"name": "a", "contact": "1", "topic": "advice"}]}, "topic is none of suicide, listening, emergency"),
        ({"en": [{"name": "a", "contact": "1", "channel": "fax"}]}, "channel is none of call, text, chat, web"),
        ({"en": [{"name": "a", "contact": "1", "source": "a leaflet"}]}, "source is no web address"),
        ({"en": [{"name": "a", "contact": "1", "verified_at": "2026-01-01"}]}, "there is no source"),
        ({"en": [{"name": "a", "contact": "1", "source": "https://a.org/", "verified_at": "soon"}]}, "is no date"),
    ],
)
def test_a_table_that_is_not_of_its_form_is_refused_with_the_place(table: object, complaint: str) -> None:
    with pytest.raises(BadTable, match=complaint):
        parse(table)


def test_channels_may_be_written_as_one_text() -> None:
    assert row(channel="call, text").channel == ("call", "text")


def test_no_number_of_ours_is_without_the_page_it_was_read_from() -> None:
    found = doubts(shipped(), TODAY)
    assert [doubt.row for doubt in found if doubt.reason == "no source"] == []
    assert not any(entry.reviewed for rows in shipped().values() for entry in rows)  # until somebody has


@pytest.mark.parametrize("place", shipped())
def test_every_place_has_an_emergency_row_and_someone_to_talk_to(place: str) -> None:
    topics = {entry.topic for entry in shipped()[place]}
    assert "emergency" in topics
    assert topics & {"suicide", "listening"}
