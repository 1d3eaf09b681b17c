"""Written turns as training examples: everything of them is read, and a draft that hurts is never to be written."""

import itertools
import random

import pytest
from transformers import AutoTokenizer
from transformers.tokenization_utils_tokenizers import TokenizersBackend

from models import written
from models.counselor import architecture
from models.counselor.bank_turns import Bank
from models.counselor.examples import BankMix, Renderer, bank_stream, of_exchange, of_turn
from models.counselor.situations import Labelled
from models.counselor.written_turns import record
from psychechat.emotion import Language
from psychechat.prompts import answers
from psychechat.risk import CRISIS, Severity


@pytest.fixture(scope="module")
def render() -> Renderer:
    tokenizer = AutoTokenizer.from_pretrained(architecture.WEIGHTS)
    assert isinstance(tokenizer, TokenizersBackend)
    return Renderer(tokenizer)


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


def bank() -> Bank:
    told = [
        Labelled(line, "zh", situation.situation, (), Severity(situation.risk))
        for situation in written.situations()
        for line in situation.seeker_zh[:3]
    ]
    return Bank.of(told)


def test_a_situation_is_answered_by_its_own_replies(render: Renderer) -> None:
    lines, rng = bank(), random.Random(3)
    stages = set()
    for _ in range(40):
        for turn in lines.conversation(rng, "zh"):
            situations = [s for s in written.situations() if turn.reply in s.reply_zh]
            assert any(turn.conversation.newest in s.seeker_zh for s in situations)
            assert (turn.severity >= CRISIS) == (situations[0].risk >= CRISIS)
            hurting = turn.refused[0].draft.response
            for example in of_turn(render, "zh", turn, rng):
                stages.add(example.stage)
                assert hurting not in example.answer
    assert stages == {"emotion", "draft", "simulation", "review", "reply"}


def test_a_joyful_reply_to_what_is_sad_is_a_draft_that_was_refused() -> None:
    lines, rng = bank(), random.Random(4)
    glad = {reply for s in written.situations() if s.valence == "positive" for reply in s.reply_zh}
    refused = [
        turn.refused[0].draft.response
        for _ in range(60)
        for turn in lines.conversation(rng, "zh")
        if any(turn.conversation.newest in s.seeker_zh and s.valence == "negative" for s in written.situations())
    ]
    assert 0.2 < sum(words in glad for words in refused) / len(refused) < 0.6


def test_a_stream_of_the_bank_goes_on_where_it_stopped(render: Renderer) -> None:
    lines, chinese = bank(), BankMix(chinese=1.0)
    whole = list(itertools.islice(bank_stream(render, 0, lines, chinese), 8))
    assert whole[5:] == list(itertools.islice(bank_stream(render, 0, lines, chinese, skip=5), 3))
    assert whole[0] != next(bank_stream(render, 1, lines, chinese))
