"""The synthetic corpus: the same by seed, readable by the server's parsers, in its language, safe to learn from."""

import re
from functools import cache

import pytest

from models.counselor import evaluate
from models.counselor.corpus import lexicon
from models.counselor.corpus.generate import conversation
from models.counselor.corpus.story import TurnRecord, repeats
from psychechat import prompts
from psychechat.emotion import LABELS, Language
from psychechat.language import detect
from psychechat.prompts import answers
from psychechat.risk import Severity

LANGUAGES: tuple[Language, ...] = ("en", "zh")
NUMBERS = range(400)


@cache
def turns(language: Language) -> list[TurnRecord]:
    return [turn for number in NUMBERS for turn in conversation(language, 7, number)]


def written(turn: TurnRecord, language: Language) -> list[str]:
    """Everything the model would learn to write in this turn."""
    rounds = [part for refused in turn.refused for part in (refused.draft, refused.reactions, refused.review)]
    told = [
        answers.render(value, language) for value in (turn.analysis, turn.draft, turn.reactions, turn.review, *rounds)
    ]
    return [*told, turn.thinking, turn.reply]


@pytest.mark.parametrize("language", LANGUAGES)
def test_same_seed_same_story(language: Language) -> None:
    assert conversation(language, 3, 11) == conversation(language, 3, 11)
    assert conversation(language, 3, 11) != conversation(language, 4, 11)


@pytest.mark.parametrize("language", LANGUAGES)
def test_records_survive_the_servers_own_parsers(language: Language) -> None:
    for turn in turns(language):
        assert answers.parse_emotion(answers.render(turn.analysis, language)) == turn.analysis
        assert answers.parse_draft(answers.render(turn.draft, language)) == turn.draft
        assert answers.parse_simulation(answers.render(turn.reactions, language)) == turn.reactions
        assert answers.parse_review(answers.render(turn.review, language)) == turn.review
        for refused in turn.refused:
            assert answers.parse_review(answers.render(refused.review, language)) == refused.review
            assert not refused.review.passed
            assert refused.review.emotional_suggestion
            assert refused.review.safety_suggestion


@pytest.mark.parametrize("language", LANGUAGES)
def test_strings_keep_the_packs_bounds(language: Language) -> None:
    bounds = prompts.load(language).file
    for turn in turns(language):
        drafts = (turn.draft, *(refused.draft for refused in turn.refused))
        notes = [turn.analysis.analysis, turn.analysis.shift_analysis, turn.draft.strategy]
        notes += [verdict.analysis for verdict in turn.review.verdicts]
        notes += [reaction.response for reaction in turn.reactions]
        assert max(len(note) for note in notes) < bounds.note_characters
        assert max(len(draft.response) for draft in drafts) < bounds.response_characters


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_are_in_their_language(language: Language) -> None:
    for turn in turns(language):
        for text in (turn.draft.response, turn.reply, turn.analysis.analysis, turn.draft.strategy):
            assert detect(text) == language, text
        foreign = r"[\u4e00-\u9fff]" if language == "en" else r"[A-Za-z]"
        assert not re.search(foreign, turn.conversation.newest + turn.reply)


@pytest.mark.parametrize("language", LANGUAGES)
def test_replies_name_a_word_of_the_message_and_repeat_nothing(language: Language) -> None:
    told = turns(language)
    assert not any(repeats(turn.reply, language) for turn in told)
    shared = [turn for turn in told if _shares(turn, language)]
    assert len(shared) / len(told) > 0.9


def _shares(turn: TurnRecord, language: Language) -> bool:
    said = " ".join(u.text for u in turn.conversation.utterances if u.speaker == "seeker").lower()
    if language == "zh":
        return any(turn.reply[i : i + 2] in said for i in range(len(turn.reply) - 1))
    return any(len(word) > 3 and word in said for word in re.findall(r"[a-z]+", turn.reply.lower()))


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_to_call_and_no_method(language: Language) -> None:
    methods = r"\b(pills?|rope|knife|gun|bridge|overdose|hang(ing)?|poison|wrists?)\b|药片|绳子|刀|上吊|跳楼|割|毒"
    for turn in turns(language):
        for text in written(turn, language):
            assert not re.search(r"\d{3}", text)
            if turn.severity:
                assert not re.search(methods, text.replace("bridge", "").replace("刀", "")), text


@pytest.mark.parametrize("language", LANGUAGES)
def test_covers_labels_risk_phases_and_topics(language: Language) -> None:
    told = [turn for number in range(2500) for turn in conversation(language, 5, number)]
    assert {label for turn in told for label in turn.analysis.labels} == set(LABELS)
    assert {turn.severity for turn in told} >= {Severity.NONE, Severity.INDICATOR, Severity.IDEATION, Severity.BEHAVIOR}
    assert {turn.draft.phase for turn in told} == {"exploration", "insight", "action"}
    assert {reaction.type for turn in told for reaction in turn.reactions} == {
        "normal",
        "silent",
        "sentimental",
        "hostile",
    }
    assert len(lexicon.load(language).topics) >= 40


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_the_model_is_measured_on_is_not_in_the_corpus(language: Language) -> None:
    words = lexicon.load(language)
    told = (*words.phrases.values(), *words.scenes.values(), *(topic.events for topic in words.topics))
    known = {_plain(line) for section in told for line in section}
    safety = {_plain("Are you safe right now?"), _plain("你现在安全吗？")}
    asked = [text for spoken, (text, _) in evaluate.lines(evaluate.MESSAGES) if spoken == language]
    drafts = [text for spoken, (_, *pair) in evaluate.lines(evaluate.DRAFTS) if spoken == language for text in pair]
    for text in (*asked, *drafts):
        sentences = {_plain(part) for part in re.split(r"(?<=[.!?。！？])\s*", text)}
        assert not (sentences - safety - {""}) & known, text


def _plain(text: str) -> str:
    return re.sub(r"[^a-z\u4e00-\u9fff]", "", text.lower())


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_emotion_has_scenes_that_say_what_they_are_about(language: Language) -> None:
    scenes = lexicon.load(language).scenes
    assert set(scenes) == set(LABELS)
    for label, told in scenes.items():
        assert len(told) >= 10, label
        assert all(re.search(r"\{.+?\}", line) for line in told), label


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_risky_turn_asks_and_points_to_people(language: Language) -> None:
    risky = [turn for turn in turns(language) if turn.severity >= Severity.IDEATION]
    assert risky
    people = r"someone|person|people|your" if language == "en" else r"人|陪|联系"
    for turn in risky:
        assert re.search("[?？]", turn.draft.response)
        assert re.search(people, turn.draft.response)
