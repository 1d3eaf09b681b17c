"""Written turns as training examples: everything of them is read, and a draft that hurts is never to be written."""

import itertools
import random
import re
from collections import Counter

import pytest
from transformers import AutoTokenizer
from transformers.tokenization_utils_tokenizers import TokenizersBackend

from models import written
from models.counselor import architecture, evaluate, felt
from models.counselor.bank_turns import Bank
from models.counselor.examples import Mix, Renderer, of_exchange, of_turn, stream
from models.counselor.written_turns import record
from psychechat import prompts
from psychechat.conversation import Act
from psychechat.emotion import Group, Label, Language
from psychechat.language import detect
from psychechat.prompts import answers
from psychechat.risk import CRISIS, Severity


@pytest.fixture(scope="module")
def render() -> Renderer:
    tokenizer = AutoTokenizer.from_pretrained(architecture.WEIGHTS)
    assert isinstance(tokenizer, TokenizersBackend)
    return Renderer(tokenizer)


@pytest.fixture(scope="module")
def bank() -> Bank:
    return Bank.unlabelled("train")


def test_the_loss_never_falls_on_a_hurting_draft(render: Renderer) -> None:
    read = 0
    for exchange in [exchange for exchange in written.exchanges() if exchange.twin][::7]:
        for example in of_exchange(render, exchange, random.Random(exchange.reply)):
            assert exchange.twin not in example.answer
            read += any(exchange.twin in chunk for chunk in example.chunks)
    assert read > 20


def test_a_turn_is_what_was_written() -> None:
    exchange = next(x for x in written.exchanges() if x.reactions and x.before and x.language == "en")
    turn = record(exchange)
    assert [utterance.speaker for utterance in turn.conversation.utterances[:2]] == ["seeker", "counselor"]
    assert turn.conversation.newest == exchange.turns[-1]
    assert turn.draft.response == turn.reply == exchange.reply
    assert turn.review.passed
    assert not turn.refused[0].review.passed
    assert turn.refused[0].draft.response == exchange.twin
    assert turn.thinking.startswith("Shift: ")
    assert exchange.before[0] in turn.analysis.recent_change or turn.memory is not None


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_a_stage_is_to_write_is_what_its_parser_takes(render: Renderer, language: Language) -> None:
    """Notes fit their bounds and labels are of distinct groups, so that the grammar allows what was learned."""
    parsers = {
        "emotion": answers.parse_emotion,
        "draft": answers.parse_draft,
        "simulation": answers.parse_simulation,
        "review": answers.parse_review,
    }
    for exchange in [x for x in written.exchanges() if x.language == language and x.reactions][::9]:
        for example in of_exchange(render, exchange, random.Random(1)):
            if example.stage in parsers:
                parsers[example.stage](example.answer)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_line_is_answered_by_how_it_feels_and_no_hurting_draft_is_written(
    render: Renderer, bank: Bank, language: Language
) -> None:
    rng, stages = random.Random(3), set()
    for _ in range(60):
        for turn in bank.conversation(rng, language):
            keys = [key for key in felt.KEYS if turn.reply in felt.texts(language)[key]]
            assert keys
            assert (turn.severity >= CRISIS) == (keys == [felt.IN_CRISIS])
            assert turn.draft.response == turn.reply
            hurting = turn.refused[0].draft.response
            for example in of_turn(render, language, turn, rng):
                stages.add(example.stage)
                assert hurting not in example.answer
    assert stages == {"emotion", "draft", "simulation", "review", "reply"}


SAD, CALM, ANGRY = Label(Group.SADNESS, 2), Label(Group.JOY, 1), Label(Group.ANGER, 2)


@pytest.mark.parametrize(
    ("act", "labels", "severity", "key"),
    [
        (None, (SAD,), Severity.NONE, "sadness"),
        (None, (CALM, SAD), Severity.NONE, "sadness"),
        (None, (CALM,), Severity.NONE, "joy"),
        (None, (), Severity.NONE, "unknown"),
        (None, (SAD,), Severity.INDICATOR, "indicator"),
        (None, (CALM,), Severity.INDICATOR, "joy"),
        (None, (CALM,), Severity.IDEATION, "crisis"),
        ("advice", (SAD,), Severity.NONE, "advice"),
        ("anger", (ANGRY,), Severity.NONE, "angry_at_you"),
        ("anger", (ANGRY,), Severity.BEHAVIOR, "crisis"),
        ("goodbye", (SAD,), Severity.INDICATOR, "indicator"),
        ("small_talk", (), Severity.NONE, "small_talk"),
    ],
)
def test_which_replies_are_right(act: Act | None, labels: tuple[Label, ...], severity: Severity, key: str) -> None:
    assert felt.key_of(act, labels, severity) == key


def test_an_act_is_told_to_the_model_that_answers_it(render: Renderer, bank: Bank) -> None:
    """Most of the time, and seldom where there is none, as by a classifier."""
    rng, told = random.Random(4), Counter[tuple[bool, bool]]()
    for turn in [turn for _ in range(400) for turn in bank.conversation(rng, "en")]:
        by_act = any(
            turn.reply in felt.texts("en")[key] for key in (*felt.ACTS.values(), felt.AT_YOU) if key in felt.KEYS
        )
        told[turn.act is not None, by_act] += 1
        prompt = next("".join(x.chunks) for x in of_turn(render, "en", turn, rng) if x.stage == "reply")
        assert ("The message " in prompt) == (turn.act is not None)
    assert told[True, True] > 50
    assert told[False, True] == 0
    assert told[True, False] == 0


@pytest.mark.parametrize("language", ["en", "zh"])
def test_replies_by_feeling_are_many_short_and_plain(language: Language) -> None:
    texts = felt.texts(language)
    assert set(texts) == set(felt.KEYS)
    replies = [reply for key in felt.KEYS for reply in texts[key]]
    assert min(len(texts[key]) for key in felt.KEYS) >= 20
    assert len(set(replies)) == len(replies)
    openings = Counter(reply[:4] if language == "zh" else " ".join(reply.split()[:3]) for reply in replies)
    assert max(openings.values()) <= len(replies) // 50
    for reply in replies:
        assert detect(reply) == language
        assert len(reply) <= (80 if language == "zh" else 260)
        assert not re.search(r"\d", reply)
        assert len(re.findall("[?？]", reply)) <= 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_banks_words_fit_the_grammar_and_its_parsers(bank: Bank, language: Language) -> None:
    rng, bounds = random.Random(5), prompts.load(language).file
    for turn in [turn for _ in range(200) for turn in bank.conversation(rng, language)]:
        assert answers.parse_emotion(answers.render(turn.analysis, language)) == turn.analysis
        assert answers.parse_draft(answers.render(turn.draft, language)) == turn.draft
        assert answers.parse_simulation(answers.render(turn.reactions, language)) == turn.reactions
        for review in (turn.review, *(refused.review for refused in turn.refused)):
            assert answers.parse_review(answers.render(review, language)) == review
        notes = [turn.analysis.analysis, turn.draft.strategy]
        notes += [verdict.analysis for verdict in turn.review.verdicts]
        notes += [reaction.response for reaction in turn.reactions]
        assert max(map(len, notes)) < bounds.note_characters
        assert len(turn.draft.response) < bounds.response_characters


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_banks_replies_are_in_their_language_and_name_no_number(bank: Bank, language: Language) -> None:
    foreign = r"[\u4e00-\u9fff]" if language == "en" else r"[A-Za-z]"
    for situation in written.situations():
        for reply in bank.replies(situation, language):
            assert detect(reply) == language
            assert not re.search(foreign, reply)
            assert not re.search(r"\d{3}", reply)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_held_out_is_not_learned_from(bank: Bank, language: Language) -> None:
    def texts(of: Bank) -> set[str]:
        return {line.text for lines in of.lines.values() for line in lines if line.language == language}

    held_out = Bank.unlabelled("dev")
    assert len(texts(held_out)) > 200
    assert not texts(held_out) & texts(bank)
    assert held_out.conversation(random.Random(0), language)


def test_what_the_model_is_measured_on_is_not_in_its_data(bank: Bank) -> None:
    told = [line.text for line in written.situation_lines()]
    told += [text for s in written.situations() for text in (*s.reply_en, *s.reply_zh)]
    told += [text for exchange in written.exchanges() for text in (*exchange.turns, exchange.reply, exchange.twin)]
    told += [text for language in ("en", "zh") for texts in felt.texts(language).values() for text in texts]
    known = set(map(plain, told))
    for file in (evaluate.MESSAGES, evaluate.DRAFTS):
        for _, texts in evaluate.lines(file):
            assert not set(map(plain, texts)) & known


def plain(text: str) -> str:
    return re.sub(r"[^a-z\u4e00-\u9fff]", "", text.lower())


def test_a_joyful_reply_to_what_is_sad_is_a_draft_that_was_refused(bank: Bank) -> None:
    rng = random.Random(4)
    sad = {s.situation for s in written.situations() if s.valence == "negative"}
    said = {line.text for line in written.situation_lines() if line.situation in sad}
    glad = {reply for s in written.situations() if s.valence == "positive" for reply in s.reply_zh}
    refused = [
        turn.refused[0].draft.response
        for _ in range(60)
        for turn in bank.conversation(rng, "zh")
        if turn.conversation.newest in said
    ]
    assert 0.03 < sum(words in glad for words in refused) / len(refused) < 0.3


def test_a_stream_goes_on_where_it_stopped(render: Renderer, bank: Bank) -> None:
    mix = Mix(exchanges=0.3, long=0.3)
    whole = list(itertools.islice(stream(render, 0, bank, mix), 12))
    assert whole[7:] == list(itertools.islice(stream(render, 0, bank, mix, skip=7), 5))
    assert {example.language for examples in whole for example in examples} == {"en", "zh"}
    assert whole[0] != next(stream(render, 1, bank, mix))
