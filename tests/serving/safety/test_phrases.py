import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from psychechat.policy import Policy
from psychechat.risk import CRISIS, Severity
from psychechat.safety.phrases import Hit, Phrases, find, finder, shipped, standing, warm
from psychechat.safety.phrases.lines import LineError, read

PHRASES = shipped()


def sentences(name: str) -> dict[str, Any]:
    table: dict[str, Any] = yaml.safe_load(Path(__file__).with_name(f"{name}.yaml").read_text("utf-8"))
    return table


BY_PHRASE = sentences("phrase_sentences")
EVERYDAY = [text for texts in sentences("everyday_sentences").values() for text in texts]
MEANT = [(name, text) for name, table in BY_PHRASE.items() for text in table["for"]]
NOT_MEANT = [(name, text) for name, table in BY_PHRASE.items() for text in table.get("not", [])]


def hits(text: str) -> tuple[Hit, ...]:
    return find(text, PHRASES)


def worst(text: str) -> Severity:
    return max((hit.severity for hit in hits(text)), default=Severity.NONE)


# ---------------------------------------------------------------------------------------------- every phrase


def test_every_phrase_has_sentences() -> None:
    assert set(BY_PHRASE) == {entry.id for entry in PHRASES.entries}
    assert all(len(table["for"]) >= 1 for table in BY_PHRASE.values())


@pytest.mark.parametrize(("phrase", "text"), MEANT)
def test_a_phrase_is_found_where_it_is_meant(phrase: str, text: str) -> None:
    found = [hit for hit in hits(text) if hit.phrase_id == phrase]
    entry = next(entry for entry in PHRASES.entries if entry.id == phrase)
    assert found
    assert max(hit.severity for hit in found) >= min(Severity[entry.severity.upper()], CRISIS)


@pytest.mark.parametrize(("phrase", "text"), NOT_MEANT)
def test_a_phrase_is_not_found_where_it_only_looks_like_it(phrase: str, text: str) -> None:
    assert [hit for hit in hits(text) if hit.phrase_id == phrase or hit.severity >= CRISIS] == []


def test_everyday_sentences_hold_no_phrase() -> None:
    assert len(EVERYDAY) >= 600
    assert [(text, hits(text)) for text in EVERYDAY if hits(text)] == []


def test_of_free_sentences_most_are_told_apart() -> None:
    free = sentences("free_sentences")
    assert sum(worst(text) >= CRISIS for text in free["crisis"]) >= 0.95 * len(free["crisis"])
    assert sum(worst(text) >= CRISIS for text in free["calm"]) <= 0.06 * len(free["calm"])


@pytest.mark.parametrize("phrase", [phrase for group in Policy().crisis.backstop.values() for phrase in group])
def test_the_phrases_of_the_old_backstop_are_found(phrase: str) -> None:
    begun = {"point in living": "no", "reason to go on": "no", "want to exist": "I don't", "wanna exist": "I don't"}
    carried = {
        "want to be here anymore": "I don't want to be here anymore",
        "want to be here any more": "I don't want to be here any more",
        "take my life": "I will take my life",
        "be around much longer": "I won't be around much longer",
        "be here much longer": "I won't be here much longer",
        "没有活下去": "没有活下去的勇气",
    }
    assert worst(carried.get(phrase, f"{begun.get(phrase, '')} {phrase}")) >= CRISIS


# ---------------------------------------------------------------------------------------------- spelling


@pytest.mark.parametrize(
    "text",
    [
        "I want to kill myself",
        "i WANT\n to   KILL myself",
        "ｉ ｗａｎｔ ｔｏ ｋｉｌｌ ｍｙｓｅｌｆ",
        "I don’t want to be alive",
        "I donʼt want to live",
        "self harm",
        "self-harm",
        "self‑harm",  # U+2011
        "self—harm",
        "selfharm",
        "I'm self-harming",
        "我想 死",
        "我覺得活著沒意思",  # traditional
        "準備自殺",
    ],
)
def test_what_a_model_can_read_as_well_is_as_typed(text: str) -> None:
    assert any(hit.as_typed and hit.severity >= CRISIS for hit in hits(text))


@pytest.mark.parametrize(
    "text",
    [
        "I want to kіll myself",  # a Cyrillic letter
        "ᴋɪʟʟ ᴍʏsᴇʟꜰ",
        "🅺🅸🅻🅻 🅼🆈🆂🅴🅻🅵",
        "k\u0336i\u0336l\u0336l\u0336 myself",
        "I want to d\u200bie",
        "su\u00adicide",
        "su1cide",
        "k1ll my5elf",
        "$uicide",
        "s*icide",
        "k*ll myself",
        "I want to d!e",
        "s u i c i d e",
        "s.u.i.c.i.d.a.l",
        "s-u-i-c-i-d-e",
        "k i l l  m y s e l f",
        "sui cide",
        "suicde",
        "sucidal",
        "kill myslef",
        "suiiicide",
        "I want to diiiiie",
        "iwanttodie",
        "#killmyself",
        "<b>kill</b> myself",
        "**kill** myself",
        "ki<i>ll</i> myself",
        "&#107;ill myself",
        "ki\nll myself",
        "I want to k\nill mys\nelf",
        "over\ndosed",
        "自.杀",
        "轻*生",
        "自🔪杀",
        "我，想，死，了",
        "自\n杀",
        "我想亖",
        "不想萿了",
        "自sha",
        "跳lou",
        "wo xiang si",
        "wo bu xiang huo le",
        "zisha",
        "想紫砂",
        "自鲨",
        "去鼠算了",
        "想噶了自己",
        "sewerslide",
        "unalive",
    ],
)
def test_what_was_spelled_not_to_be_found_is_found_and_not_as_typed(text: str) -> None:
    found = [hit for hit in hits(text) if hit.severity >= CRISIS]
    assert found
    assert not any(hit.may_be_overruled for hit in found)


@pytest.mark.parametrize(
    "text", ["Tôi mệt quá", "10 % off, 2 for 1!", "a1 b2 c3", "C-3PO & R2-D2", "<3 <3 <3", "你好:) 1+1=2", ""]
)
def test_odd_spelling_alone_is_no_phrase(text: str) -> None:
    assert hits(text) == ()


# ---------------------------------------------------------------------------------------------- contexts


@pytest.mark.parametrize(
    "text",
    [
        # denied
        "I don't want to kill myself, please stop asking.",
        "I've never thought about hurting myself.",
        "I am not suicidal.",
        "I have no plans to end my life.",
        "I would never kill myself.",
        "No suicidal thoughts today.",
        "我没有想过自杀",
        "我不会自杀的",
        "我不想死",
        "我从来没想过要伤害自己",
        # told
        "He told me to kill myself.",
        "Kids at school said I should kill myself.",
        "他骂我去死",
        # loss
        "My brother killed himself.",
        "He committed suicide.",
        "We lost my cousin to suicide.",
        "他爸爸跳楼自杀了",
        # past
        "I used to want to die.",
        "I tried to kill myself ten years ago.",
        "I'm five years free from self-harm.",
        "I wanted to die when I was fifteen.",
        "I took all my pills in 2012.",
        "I was suicidal once. I'm fine now.",
        "我以前想过自杀，现在好了",
        "十年前我自杀过",
        # study and asked
        "I'm writing an essay on suicide prevention.",
        "The novel is about suicide.",
        "我在看一部关于自杀的电影",
        "Have you ever felt suicidal?",
    ],
)
def test_what_stands_around_a_phrase_can_make_it_an_indicator(text: str) -> None:
    assert worst(text) == Severity.INDICATOR
    assert all(hit.kind is None and not hit.final for hit in hits(text))


@pytest.mark.parametrize(
    "text",
    [
        "No, I want to die.",
        "I can't stop thinking about killing myself.",
        "I'm trying not to kill myself.",
        "Why not kill myself?",
        "I don't know if I want to die.",
        "I don't want to kill myself but I think I will.",
        "I've never wanted to die so badly.",
        "I told you I want to die.",
        "I'm not going to lie, I want to die.",
        "The voices told me to kill myself.",
        "This makes me want to die.",
        "My mum died two years ago and I want to die.",
        "When I was ten he hit me. I want to kill myself.",
        "I used to cut and I want to do it again, I want to cut myself.",
        "I failed my exam and I want to kill myself.",
        "Do you think I should kill myself?",
        "I almost committed suicide.",
        "我控制不住想自杀",
        "不知道要不要自杀",
        "这让我想死",
        "我是不是该去死",
        "小时候他打我，我现在想死",
        "妈妈五年前走了，我想自杀",
        "忍不住想死",
    ],
)
def test_what_only_looks_like_such_a_context_changes_nothing(text: str) -> None:
    assert worst(text) >= CRISIS


@pytest.mark.parametrize(
    "text",
    [
        "years ago my mom died i dont wanna live",
        "my dad left two years ago. life is not worth living",
        "back in high school they bullied me and suicide is all i think about",
        "i was abused as a child, suicidal every day since",
        "i lost my job a year ago and i am planning to end it all",
        "ten years ago i had a family now there is no reason to live",
        "i was fine years ago, nothing left to live for anymore",
        "he died a long time ago and i still want to be with my dead husband",
        "i'm doing better now but some nights i want to kill myself",
        "not anymore. i cant go on",
        "when i was young i was happy, i wish i was dead",
        "my brother killed himself and i am next, i will kill myself too",
        "she said i should die and maybe i should just die",
        "the news makes me suicidal",
        "my therapist asked have you thought of suicide and yes i want to die",
        "the movie made me want to die",
        "i have no plans except to kill myself",
        "i have no plans for next week because i'll be dead",
        "i don't want to die but i can't live like this",
        "i never wanted to die until now",
        "nobody told me not to kill myself",
        "it's not that i want to die, i just can't live anymore",
        "my mom says im fine but i want to kill myself",
        "he doesn't know i want to kill myself",
        "do you think anyone would care if i died",
        "are you there? i want to die",
        "have you ever wanted to die? because i do, i want to die",
        "i told my friend i want to die",
        "my essay is due and i want to kill myself",
        "i read a book about grief and i want to end my life",
        "last year was bad but this year i want to end it all",
        "以前我很快乐，现在只想死",
        "三年前我离婚了，活着没意思",
        "我妈说我没事，可我想自杀",
        "他不知道我想死",
        "电影看完我想死",
        "你觉得我该不该去死",
        "他们说我应该去死，我也觉得",
        "我没有告诉任何人我想自杀",
        "没有人知道我不想活了",
        "我不是开玩笑，我想死",
        "不是第一次了，我想自杀",
        "没办法，只想死",
        "不会有人在乎，我去死好了",
        "大学的时候被欺负，到现在都想死",
        "朋友自杀了，我也不想活了",
        "医生问我有没有自杀的念头，我说有",
        "我没说谎，我想死",
        "I'm going to kill myself over him.",
        "I will take my life with these pills.",
        "I cut myself when I'm sad.",
        "I cut myself on purpose.",
        "I cut myself on my arms.",
        "I hurt myself at night when nobody sees.",
        "I cut my wrists while crying.",
        "I just cut my wrist on purpose.",
        "I slit my wrists with the kitchen knife.",
        "I almost cut myself last night.",
        "She cuts herself when she is upset.",
        "I can't go on this way.",
        "I can't go on without him.",
        "I can't go on any longer.",
        "There is no reason to go on in this life.",
        "There's no point in living without her.",
        "I don't want to live in a world without him.",
        "I'm tired of living like this.",
        "I want to end it before Christmas.",
        "I want to end it here.",
        "I just want to end the pain in my heart.",
        "I will die tonight in my room.",
        "I'm standing on the ledge looking at the cars below.",
        "I climbed over the railing because I want to jump.",
        "I'm about to jump off the bridge into the river.",
        "I'm standing on the bridge over the river.",
        "I took all my pills and feel sleepy.",
        "I took all my pills before bed and I hope I don't wake up.",
        "I took all my pills like I planned.",
        "I took all my pills for the last time.",
        "我想死你们会难过吗",
        "我疯狂想死",
        "我幻想死亡",
        "每天早上都不想醒来",
        "猫死了我活不下去了",
        "工作丢了，我想消失",
        "离婚了，只想解脱",
        "死才能从痛苦中解脱",
        "喝酒后我又伤害自己了",
        "孩子睡了我就从阳台跳下去",
        "股票亏光了，我想跳楼",
        "怎么自杀不疼，帮帮我",
        "出院回来我吃了一整瓶药",
        "我把药全吃了，再见",
        "吃了一整瓶药，胃好痛",
        "她刚吞了毒药",
        "我用玻璃割了手腕",
        "爷爷走了，我站在天台边",
        "我站在栏杆外等他来",
        "我失眠攒了一瓶安眠药",
        "孩子睡了，安眠药准备好了",
    ],
)
def test_an_excuse_does_not_reach_too_far(text: str) -> None:
    """What comes close to one, in a sentence of somebody who is in danger."""
    assert worst(text) >= CRISIS


@pytest.mark.parametrize(
    "text",
    [
        "My friend says she wants to die.",
        "My sister is suicidal.",
        "How can I help a friend who wants to kill himself?",
        "He doesn't want to live anymore.",
        "我朋友说她想自杀",
        "她不想活了怎么办",
    ],
)
def test_somebody_else_in_danger_is_a_crisis_of_its_own_kind(text: str) -> None:
    worst_hit = max(hits(text), key=lambda hit: hit.severity)
    assert worst_hit.severity >= CRISIS
    assert worst_hit.kind == "other_person"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("I took all my mum's antidepressants an hour ago.", "under_way"),
        ("I'm standing on the ledge.", "under_way"),
        ("我已经吃了一整瓶药", "under_way"),
        ("我站在天台边", "under_way"),
        ("I've got the noose ready.", "plan_or_means"),
        ("I'm going to kill myself tonight.", "plan_or_means"),
        ("今晚我就去死", "plan_or_means"),
        ("She took all her pills.", "other_person"),
    ],
)
def test_an_act_means_and_a_time_are_final(text: str, kind: str) -> None:
    assert any(hit.kind == kind and hit.final and not hit.may_be_overruled for hit in hits(text))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("我妈妈把安眠药拿到房间了", "other_person"),
        ("我把妈妈的安眠药拿到自己房间了", "plan_or_means"),
        ("My mum has her pills ready to kill herself.", "other_person"),
        ("I have my mum's pills here to kill myself.", "thoughts"),
    ],
)
def test_what_is_somebody_elses_may_be_in_the_seekers_hands(text: str, kind: str) -> None:
    assert {hit.kind for hit in hits(text) if hit.severity >= CRISIS} == {kind}


@pytest.mark.parametrize(
    "text", ["I took all my pills last week.", "I overdosed two months ago.", "上个月我刚吞了一瓶安眠药"]
)
def test_an_act_of_weeks_ago_is_ideation(text: str) -> None:
    assert worst(text) >= CRISIS
    assert not any(hit.kind == "under_way" for hit in hits(text))


@pytest.mark.parametrize("text", ["《自杀论》读书报告", "我在读《自杀俱乐部》", "We watched Suicide Squad."])
def test_titles_are_no_phrases(text: str) -> None:
    assert hits(text) == ()


# ---------------------------------------------------------------------------------------------- where, and how long


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("Well… I want to KILL   myself now", "KILL   myself"),
        ("ﬁne, ki<b>ll</b> myself ﬁ", "ki<b>ll</b> myself"),
        ("so s.u.i.c.i.d.e it is", "s.u.i.c.i.d.e"),
        ("😀😀 轻*生 😀", "轻*生"),
        ("&lt;&#107;ill myself&gt;", "&#107;ill myself"),
        ("I'd ki\nll myself", "ki\nll myself"),
    ],
)
def test_a_hit_says_where_it_is_in_the_text_as_it_came(text: str, there: str) -> None:
    assert there in {text[hit.start : hit.end] for hit in hits(text)}


PIECES = [
    "kill myself",
    "want to die",
    "自杀",
    "我",
    "想死",
    "后",
    "事",
    "ﬁ",
    "\u0301",
    "\u200b",
    "ᴋ",
    "🄺",
    "&#107;",
    "<b>",
]
ALPHABET = st.sampled_from([*"kilmyseftodnw .,-*_<>&#;\n'’1!$", *PIECES])


@given(st.lists(ALPHABET, max_size=40).map("".join))
def test_hits_lie_in_the_text_and_in_order(text: str) -> None:
    found = hits(text)
    assert all(0 <= hit.start < hit.end <= len(text) for hit in found)
    assert list(found) == sorted(found, key=lambda hit: (hit.start, hit.end))


@given(st.sampled_from([text for _, text in MEANT]))
def test_sentences_around_a_phrase_change_nothing(text: str) -> None:
    before, after = "The weather was fine. 今天天气很好。\n", "\nWe had soup. 晚上喝了汤。"
    alone = [(hit.phrase_id, hit.start, hit.severity, hit.kind) for hit in hits(text)]
    among = [(hit.phrase_id, hit.start - len(before), hit.severity, hit.kind) for hit in hits(before + text + after)]
    assert among == alone


LONG = [
    "\u0301",
    "a",
    "a ",
    "a\n",
    "<",
    "&",
    "*",
    "- ",
    "自杀",
    "然后事情",
    "死",
    "si ",
    "kill ",
    "kill myself ",
    "i want to ",
    "k i l l ",
    "don't ",
    "took all the ",
    "自.",
    "《自杀",
]


@pytest.mark.parametrize("piece", LONG)
def test_work_grows_with_the_text_alone(piece: str) -> None:
    def seconds(count: int) -> float:
        text = piece * (count // len(piece))
        begun = time.process_time()
        hits(text)
        return time.process_time() - begun

    warm()
    assert seconds(80_000) < 12 * max(seconds(20_000), 0.02)


def test_only_what_is_around_a_hit_is_segmented(monkeypatch: pytest.MonkeyPatch) -> None:
    segmented: list[str] = []
    cut = standing.cut

    def cut_and_noted(text: str) -> Any:
        segmented.append(text)
        return cut(text)

    monkeypatch.setattr(standing, "cut", cut_and_noted)
    hits("今天天气很好。" * 200 + "然后事情有了转机。" + "我想自杀。" * 3 + "今天天气很好。" * 200)
    assert 0 < len(segmented) <= 12
    assert all(len(text) <= 2 * standing.AROUND + 5 for text in segmented)


def test_of_very_many_hits_the_rest_is_one_unexcused() -> None:
    found = hits("I don't want to kill myself. " * 2_000)
    assert len(found) == finder.MOST_HITS + 1
    assert found[-1].severity == Severity.IDEATION


# ---------------------------------------------------------------------------------------------- the table


def test_a_table_may_be_two_lists_of_strings() -> None:
    phrases = Phrases.model_validate({"en": ["blue door", "don't look up"], "zh": ["蓝色的门"]})
    assert [hit.phrase_id for hit in find("Behind the BLUE  door, don’t look up. 我看见藍色的門", phrases)] == [
        "blue door",
        "dont look up",
        "蓝色的门",
    ]
    assert find("I said I have no plans to blue door", phrases)[0].severity == Severity.INDICATOR
    assert find("blue doors", phrases) == ()


def test_an_operator_may_use_the_words_of_the_shipped_table() -> None:
    phrases = Phrases.model_validate(
        {"words": {"colour": ["red", "green"]}, "en": [{"id": "door", "says": ["<want> the (<colour>|blue) door"]}]}
    )
    assert [hit.phrase_id for hit in find("I want to the green door", phrases)] == ["door"]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"en": [{"id": "a"}]}, "'a' has no line"),
        ({"en": ["x <nothing>"]}, "<nothing>"),
        ({"en": ["(a|b"]}, "without its"),
        ({"en": ["a | b"]}, "cannot be read"),
        ({"en": ["~ b"]}, "begins or ends"),
        ({"en": ["b", "b"]}, "named twice: b"),
        ({"en": [{"id": "a", "says": ["x"], "severity": "indicator"}]}, "kind: null"),
        ({"en": [{"id": "a", "says": ["x"], "extra": 1}]}, "Extra inputs"),
        ({"en": [{"id": "a", "says": ["x"], "kind": "other"}]}, "thoughts"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words.replace("(", "\\(")):
        Phrases.model_validate(table)


@pytest.mark.parametrize(
    ("line", "yes", "no"),
    [
        ("kill(ing|ed)? me", ["kill me", "killing me"], ["kills me", "kill men"]),
        ("want to? die", ["want die", "want to die"], ["want not die"]),
        ("took ~ pills", ["took pills", "took all of my pills"], ["took it. pills", "took a b c d e f pills"]),
        ("(a bit|some (more|less)) tea", ["a bit tea", "some less tea"], ["some tea"]),
        ("<number> pills", ["12 pills"], ["pills"]),
        ("不想 (再)? 活", ["不想活", "不想再活"], ["不想想活"]),
        ("吃 ~ 药", ["吃了很多药", "吃药"], ["吃。药", "吃一二三四五六七八九药"]),
    ],
)
def test_lines_are_read_as_the_table_says(line: str, yes: list[str], no: list[str]) -> None:
    phrases = Phrases.model_validate({"en": [{"id": "line", "says": [line]}], "zh": ["一句没有的话"]})
    assert [text for text in yes if not find(text, phrases)] == []
    assert [text for text in no if find(text, phrases)] == []


def test_a_list_may_not_hold_itself() -> None:
    with pytest.raises(LineError, match="<me>"):
        read("<me> too", {"me": ["<me>"]})
