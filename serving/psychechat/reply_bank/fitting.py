"""Which replies of a bank fit a turn."""

import random
import re
from collections.abc import Iterator, Sequence

from psychechat.conversation import Act, Assessment, StageInputs
from psychechat.emotion import Felt
from psychechat.help.plain import plain
from psychechat.reply_bank.bank import Bank, Topic
from psychechat.risk import Severity

FEW = 6
"""Replies that a counselor chooses from; which ones is drawn by the message, so that the same words get the same."""

HEAVY_FROM, ASKING_FROM, DARK_FROM = 0.9, 0.97, 0.8
"""P(indicator or worse) from which on a message that touches the subject is heavy: below it is mostly about something
else; and from which on it is surely so, and asked about. And share of a crisis' threshold from which on it is dark."""

NEAR_TURNS = 2
"""Of the seeker's, behind a crisis: safety is asked about."""

ACT, ACT_BEHIND_A_REPLY = 0.5, 0.85
"""Probability of a dialogue act from which on it counts, first and in the midst of a talk, where fragments are taken
for anything."""

_POLITE: Sequence[Act] = ("greeting", "thanks", "goodbye", "small_talk")

SHORT_WORDS, SHORT_HAN = 6, 10
"""A message of no more, behind a question, is an answer to it."""

_HEARD, _CHATTING_BELOW = 0.3, 0.4
"""Probability of its subject from which on a topic is what a message is about: of 108 fresh messages in which one was
found so 101 were. And of all subjects together, below which somebody who names the weather chats about it."""

_ASKS_AT_ITS_END = re.compile(r"(?:[?？]|吗|呢|怎么办|怎么样|好不好|行不行)[\s\"'”’)）!！~～。]*$")
_HAN = re.compile(r"[㐀-鿿]")


def choices(bank: Bank, inputs: StageInputs) -> tuple[str, ...]:
    """Up to FEW replies, none of which the counselor has said before, or a review of this turn has refused, as long as
    there are others."""
    fit = next(filter(None, _fitting(bank, inputs)))
    said = [u.text for u in inputs.conversation.utterances if u.speaker == "counselor"]
    refused = {made.draft.response for made in inputs.rounds}
    new = [text for text in fit if text not in refused and not any(text in line for line in said)] or list(fit)
    if len(said) > 1 and all(_asks(line) for line in said[-2:]):
        new = [text for text in new if not _asks(text)] or new
    drawn = random.Random(inputs.conversation.newest)  # noqa: S311  nothing secret
    return tuple(drawn.sample(new, min(FEW, len(new))))


def _asks(text: str) -> bool:
    return "?" in text or "？" in text


def _fitting(bank: Bank, inputs: StageInputs) -> Iterator[Sequence[str]]:
    """Replies from the most particular to the most general, some of them none."""
    reading, message = inputs.reading, inputs.conversation.newest
    if reading is None or reading.severity is None:
        yield bank.open
        return
    if reading.in_crisis:
        yield bank.crisis.of(reading.kind_so_far, reading.severity)
        return
    if reading.conversation.held:
        yield (bank.held_near or ()) if (reading.conversation.since_turns or 0) <= NEAR_TURNS else ()
        yield bank.held or bank.heavy
        return
    if reading.severity > Severity.NONE:
        is_dark = not reading.is_doubted and (reading.share_of_crisis or 0.0) >= DARK_FROM
        yield (bank.dark or ()) if is_dark else ()
        touches = reading.scores[Severity.INDICATOR]
        yield [text for text in bank.heavy if _asks(text)] if touches >= ASKING_FROM else ()
        yield bank.heavy if is_dark or reading.overruled or touches >= HEAVY_FROM else ()
    felt, act = reading.felt, _act(inputs, reading.assessment)
    yield bank.acts.get(act, ()) if act else ()
    yield (bank.question or ()) if _ASKS_AT_ITS_END.search(message) else ()
    topic = next((topic for topic in bank.named(message) if _is_about(topic, felt, reading.assessment)), None)
    if topic is None and felt.tone != "glad" and _answers_a_question(inputs):
        yield _to_answer(bank, message)
    if topic is not None:
        yield (topic.glad or ()) if felt.tone == "glad" else topic.any
    subject = bank.subjects.get(reading.subject) if reading.subject else None
    yield subject.of(felt.tone) if subject else ()
    yield bank.feelings.get(felt.group, ()) if felt.group else ()
    yield (bank.low or ()) if felt.tone not in (None, "glad") else ()
    yield bank.open


def _act(inputs: StageInputs, assessment: Assessment | None) -> Act | None:
    """What the message does where it tells of nothing; of those that are polite the likeliest, if it is one of them."""
    acts = assessment.acts if assessment else {}
    if not acts:
        return None
    polite = sum(acts.get(act, 0.0) for act in _POLITE)
    act = max(_POLITE if polite > max(acts.values()) else acts, key=lambda act: acts.get(act, 0.0))
    sure = max(polite, acts[act]) if act in _POLITE else acts[act]
    return act if sure >= (ACT_BEHIND_A_REPLY if inputs.conversation.answered else ACT) else None


def _is_about(topic: Topic, felt: Felt, assessment: Assessment | None) -> bool:
    """Whether a topic that a message names is what it is about: half of the words that name one are by the way."""
    heard = assessment.subjects if assessment else {}
    if topic.chat:
        return felt.tone in (None, "glad") and sum(heard.values()) - heard.get("talking", 0.0) < _CHATTING_BELOW
    return heard.get(topic.subject, 0.0) >= _HEARD


def _answers_a_question(inputs: StageInputs) -> bool:
    said, message = inputs.conversation.answered, inputs.conversation.newest
    short = len(_HAN.findall(message)) <= SHORT_HAN and len(_HAN.sub(" ", message).split()) <= SHORT_WORDS
    return short and bool(said) and _asks(said[-1].text[-200:])


def _to_answer(bank: Bank, message: str) -> Sequence[str]:
    said = plain(message).strip(" .!,;~…。！，；～")
    for answer in (bank.answers.affirmed, bank.answers.denied, bank.answers.unsure):
        if answer and said in answer.words:
            return answer.replies
    return bank.answers.other or ()
