import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psychechat.policy import Policy
from psychechat.safety.replies.contacts import allowed_contacts, made_up_contacts

RESOURCES = allowed_contacts(
    part for entries in Policy().crisis.resources.values() for entry in entries for part in (entry.name, entry.contact)
)


def written(name: str) -> Iterator[str]:
    """Sentences with their language before them, all of this project's own."""
    lines = Path(__file__).with_name(f"{name}.tsv").read_text("utf-8").splitlines()
    return (line.partition("\t")[2] for line in lines)


def found(text: str, *given: str) -> list[str]:
    return [text[span.start : span.end] for span in made_up_contacts(text, allowed_contacts(given))]


# ---------------------------------------------------------------------------------------------- what is found


def test_no_contact_leaves_that_nobody_gave() -> None:
    sentences = list(written("contacts_made_up"))
    assert len(sentences) >= 500
    assert [sentence for sentence in sentences if not made_up_contacts(sentence, ())] == []


def test_dates_ages_times_prices_counts_and_the_resources_leave() -> None:
    sentences = list(written("contacts_pass"))
    assert len(sentences) >= 700
    assert [sentence for sentence in sentences if made_up_contacts(sentence, RESOURCES)] == []


def test_every_resource_may_be_told_as_it_is_in_the_table() -> None:
    crisis = Policy().crisis
    for entries in crisis.resources.values():
        for entry in entries:
            assert made_up_contacts(f"{entry.name}: {entry.contact}", RESOURCES) == ()
    words = [
        text for told in crisis.words.values() for text in (told.template, told.introduction, told.cut, *told.held)
    ]
    for text in (*words, *Policy().guard.ending.values()):
        assert made_up_contacts(text, ()) == ()


def test_the_span_is_the_contact_and_its_kind_is_told() -> None:
    text = "Call １１６ 123, see Calm.example.org, or add @night_owl."
    spans = made_up_contacts(text, ())
    assert [(text[span.start : span.end], span.kind) for span in spans] == [
        ("１１６ 123", "number"),
        ("Calm.example.org", "address"),
        ("@night_owl", "account"),
    ]


def test_a_link_is_judged_by_where_it_leads_and_a_name_hides_no_address_beside_it() -> None:
    assert found("[findahelpline.com](https://made-up.example.org/x)", "findahelpline.com")
    assert found("Read [this](/guides/sleep).") == ["/guides/sleep"]
    assert found("Read [this](https://findahelpline.com/).", "findahelpline.com") == []
    text = "Join “Calm Corner” on Discord through findahelpline.com or calm.example.org."
    assert found(text, "findahelpline.com") == ["Calm Corner", "calm.example.org"]
    assert found(text, "findahelpline.com", "They call it “Calm Corner”.") == ["calm.example.org"]


@pytest.mark.parametrize(
    ("text", "contact"),
    [
        ("Add ＠ｋｉｎｄ＿ｋａｔｅ on Telegram.", "＠ｋｉｎｄ＿ｋａｔｅ"),
        ("Download MoodHarbor from Google Play.", "MoodHarbor"),
        ("搜索小程序“暖灯倾听”。", "暖灯倾听"),
        ("加我的微信吧，nuandeng。", "nuandeng"),
        ("Go to calm.lane/hello.", "calm.lane/hello."),
    ],
)
def test_the_span_of_a_name_is_the_name(text: str, contact: str) -> None:
    assert found(text) == [contact]


# ------------------------------------------------------------------------------------------------ who gave it


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("call or text 988", "You can dial nine-eight-eight."),
        ("call or text 988", "Please call 9 8 8 now."),
        ("call or text 988", "988 24 hours a day, 988 for anyone."),
        ("12356", "请拨打一二三五六。"),
        ("12356", "拨打１２３５６，随时有人。"),
        ("120 / 110", "可以打120或者110。"),
        ("call 116 123", "Samaritans: 116123"),
        ("Our ward: +44 20 7946 0123, day and night.", "You can ring 020 7946 0123."),
        ("Our ward: +44 (0)20 7946 0123.", "You can ring 0044 20 7946 0123."),
        ("800-555-0199", "Call 1-800-555-0199."),
        ("I have Dr Lee's number, 555-0142.", "Would you call Dr Lee on 5550142 now?"),
        ("my mother, 0171 5550123, or my aunt 0171 5550124", "Could you call 01715550124?"),
        ("Findahelpline.com", "Look at https://www.findahelpline.com/ tonight."),
        ("findahelpline.com", "It is find a helpline dot com."),
        ("findahelpline.com", "打开findahelpline点com看看。"),
        ("findahelpline.com", "网址：findahelpline，点com"),
        ("findahelpline.com", "Website: findahelpline.com"),
        ("findahelpline.com", "Go to findahelpline dot com."),
        ("write to Care@Clinic.example.org", "You can write to care@clinic.example.org."),
        ("care@clinic.example.org", "Write to care [at] clinic [dot] example [dot] org."),
        ("she is @Night_Owl there", "What did @night_owl write?"),
        ("我的微信号是 xinyu_2023", "你说的微信号 xinyu_2023，是他给你的吗？"),
    ],
)
def test_what_was_given_may_be_said_however_it_is_written(given: str, text: str) -> None:
    assert found(text)
    assert found(text, given) == []


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("988", "Call 989."),
        ("116 123", "Call 123."),
        ("116 123", "Call 116."),
        ("call 911", "Call 9112."),
        ("press 2, then 4", "The Quiet Line is 2-2-4-4."),  # a digit that was given is no part of a number
        ("call 988", "Call nine eight eight two."),
        ("I waited 120 minutes.", "Please call 120."),  # a count is no number that somebody gave
        ("I am 37 and it is 17:30 on 3/4/2025.", "Call 342025."),
        ("+44 20 7946 0123", "Call +1 20 7946 0123."),
        ("findahelpline.com", "See findahelpline.org."),
        ("findahelpline.com", "See chat.findahelpline.com."),
        ("findahelpline.com", "See findahelpline.com/made-up."),
        ("clinic.example.org", "Write to nurse@clinic.example.org."),
        ("@night_owl", "Write to @night_owl2."),
    ],
)
def test_what_is_like_it_was_not_given(given: str, text: str) -> None:
    assert found(text, given)


def test_a_number_is_understood_by_the_sentence_before_it_which_has_left() -> None:
    before, newest = "Here is the number of the night team. ", "4455."
    assert made_up_contacts(newest, ()) == ()
    assert [span[:2] for span in made_up_contacts(before + newest, (), len(before))] == [(38, 42)]
    before = "You told me to call 988. "
    assert made_up_contacts(before + "It is 17:30 now.", (), len(before)) == ()


# ------------------------------------------------------------------------------------------------------ limits


WORDS = ["call ", "988", "nine ", "拨打", "www.", ".com", "text ", " people", "€", "WhatsApp "]
FRAGMENTS = st.sampled_from([*"0123456789 .-/()+@,:年号点一二三", *WORDS])


@given(st.lists(FRAGMENTS, max_size=60).map("".join) | st.text(max_size=300))
def test_any_text_is_read_and_what_it_holds_is_allowed_once_it_was_given(text: str) -> None:
    spans = made_up_contacts(text, ())
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert all(first.end <= second.start for first, second in pairwise(spans))


NUMBERS = ["1", "1 ", "1-", "one two ", "一二", "1,000,"]
ADDRESSES = ["a.", "@", "a@", "a dot ", "](/", "x.me ", "go to aaaa slash "]
ACCOUNTS = [
    "WhatsApp a_",
    "join group ",
    "join A ",
    "Anna Bell ",
    "微信搜",
    "百度搜",
    "网址：a点",
    "#家园",
    "加微信",
    "我的微信叫",
    "on Telegram ",
    "“A”群",
]


@pytest.mark.parametrize("piece", [*NUMBERS, *ADDRESSES, *ACCOUNTS])
def test_the_time_grows_with_the_text_alone(piece: str) -> None:
    """A sentence has a few hundred characters, and a message of the seeker is read in parts."""
    begun = time.thread_time()
    made_up_contacts(piece * (640 // len(piece)), ())
    allowed_contacts([piece * (32_000 // len(piece))])
    assert time.thread_time() - begun < 5
