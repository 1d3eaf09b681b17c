"""Which replies of a bank fit a turn."""

import random
import re
from collections.abc import Iterator, Sequence

from psychechat.conversation import Act, Reading, StageInputs
from psychechat.emotion import Felt
from psychechat.help.plain import plain
from psychechat.language import is_within
from psychechat.reply_bank import topics
from psychechat.reply_bank.bank import Bank, Topic
from psychechat.risk import CRISIS, Severity

FEW = 6
"""Replies that a counselor chooses from; which ones is drawn by the message, so that the same words get the same."""

HEAVY_FROM, ASKING_FROM, DARK_FROM = 0.9, 0.97, 0.8
"""P(indicator or worse) from which on a message that touches the subject is heavy: below it is mostly about something
else; and from which on it is surely so, and asked about. And share of a crisis' threshold from which on it is dark."""

NEAR_TURNS, AFTER_TURNS = 2, 10
"""Of the seeker's, behind a crisis: safety is asked about, and nobody is bidden farewell."""

ACT, SURE_ACT = 0.5, 0.85
"""Probability of a dialogue act from which on it counts; the second in the midst of a talk, where fragments are taken
for anything, but for thanks for it; and of a question for advice without a question."""

_POLITE: Sequence[Act] = ("greeting", "thanks", "small_talk")

SHORT_WORDS, SHORT_HAN = 6, 10
"""A message of no more, behind a question, is an answer to it."""

_ASKS_FOR_ADVICE = re.compile(
    r"[?？]|怎么|怎样|如何|该不该|要不要|能不能|办法|建议|\b(?:how|what|should|tips?|advice)\b", re.IGNORECASE
)
_ASKS_AT_ITS_END = re.compile(r"(?:[?？]|吗|怎么办|好不好|行不行)[\s\"'”’)）!！~～。]*$")


def choices(bank: Bank, inputs: StageInputs) -> tuple[str, ...]:
    """Up to FEW replies, none of which the counselor has said before, or a review of this turn has refused, as long as
    there are others."""
    fit = next(filter(None, _fitting(bank, inputs)))
    said = [u.text.strip() for u in inputs.conversation.utterances if u.speaker == "counselor"]
    refused = [made.draft.response for made in inputs.rounds]
    new = [text for text in fit if not any(_is_of(text, line) for line in (*said, *refused))] or list(fit)
    if len(said) > 1 and all(map(_asks, said[-2:])) and not _is_careful(inputs):
        new = [text for text in new if not _asks(text)] or new
    drawn = random.Random(inputs.conversation.newest)  # noqa: S311  nothing secret
    return tuple(drawn.sample(new, min(FEW, len(new))))


def _is_of(text: str, line: str) -> bool:
    """Whether the line holds the reply, or is what a client's bound or stop string left of it."""
    return text in line or (bool(line) and text.startswith(line))


def _asks(text: str) -> bool:
    return "?" in text or "？" in text


def _is_careful(inputs: StageInputs) -> bool:
    """Whether there is any risk, or was: then what has to be asked is asked."""
    reading = inputs.reading
    return reading is not None and (reading.severity is not Severity.NONE or reading.conversation.held)


def _fitting(bank: Bank, inputs: StageInputs) -> Iterator[Sequence[str]]:
    """Replies from the most particular to the most general, some of them none."""
    reading = inputs.reading
    if reading is None:
        yield bank.open
    elif reading.in_crisis:
        yield bank.crisis.of(reading.kind_so_far, reading.severity or CRISIS)
    elif reading.conversation.held:
        yield (bank.held_near or ()) if (reading.conversation.since_turns or 0) <= NEAR_TURNS else ()
        yield bank.held or bank.heavy
    elif reading.severity is None:
        yield bank.heavy
    else:
        if reading.severity > Severity.NONE or reading.phrase_severity or reading.is_about_risk:
            yield from _touching(bank, reading)
        yield from _ordinary(bank, inputs, reading)


def _touching(bank: Bank, reading: Reading) -> Iterator[Sequence[str]]:
    """To a message that touches the subject; none where that is hardly so."""
    if not reading.is_doubted and (reading.share_of_crisis or 0.0) >= DARK_FROM:
        yield bank.dark or bank.heavy
    touches = reading.scores[Severity.INDICATOR]
    leaves_it_open = reading.is_about_risk and reading.answer is None
    if reading.is_doubted or leaves_it_open or touches >= ASKING_FROM:
        yield [text for text in bank.heavy if _asks(text)]
    if reading.is_doubted or leaves_it_open or reading.phrase_severity or touches >= HEAVY_FROM:
        yield bank.heavy


def _ordinary(bank: Bank, inputs: StageInputs, reading: Reading) -> Iterator[Sequence[str]]:
    """To a message without risk; or with a hint of one, and then nothing glad or polite: it may be a farewell."""
    message, felt, since = inputs.conversation.newest, reading.felt, reading.conversation.since_turns
    is_calm = reading.severity is Severity.NONE and (since is None or since > AFTER_TURNS)
    if felt.tone == "glad" and not (is_calm and _was_not_sad(inputs)):
        felt = Felt(leans=felt.leans)
    topic = topics.likely(bank, message, reading)
    hurts, asks = felt.tone not in (None, "glad"), _ASKS_AT_ITS_END.search(message)
    act = _act(inputs, reading) if is_calm else None
    if act and not (act == "small_talk" and topic):
        yield bank.acts.get(act, ())
    if asks and not hurts and "death" not in (topic and topic.subject, reading.subject):
        yield bank.question or ()
    if topic is not None:
        yield _to_topic(bank, topic, felt)
    elif felt.tone != "glad" and _answers_a_question(inputs):
        yield _to_answer(bank, message)
    subject = bank.subjects.get(reading.subject) if reading.subject else None
    yield subject.of(felt.tone) if subject else ()
    yield (bank.question or ()) if asks else ()
    yield bank.feelings.get(felt.group, ()) if felt.group else ()
    yield (bank.low or ()) if hurts else ()
    yield bank.open


def _to_topic(bank: Bank, topic: Topic, felt: Felt) -> Sequence[str]:
    """Where it is not told whether the seeker is glad and rather so, what is right for either."""
    if felt.tone == "glad":
        return topic.glad or ()
    if felt.tone is None and felt.leans > 0 and not topic.chat and topic.subject != "death":
        return bank.subjects[topic.subject].any if topic.subject in bank.subjects else ()
    return topic.any


def _was_not_sad(inputs: StageInputs) -> bool:
    """Whether gladness may be answered as such: in the midst of a talk only where the turn before was not sad."""
    if not inputs.conversation.answered:
        return True
    memory = inputs.reading.memory if inputs.reading else None
    return memory is not None and (memory.valence or 0) >= 0


def _act(inputs: StageInputs, reading: Reading) -> Act | None:
    """What the message does where it tells of nothing. Those that are polite count together, but for a goodbye."""
    acts = reading.assessment.acts if reading.assessment else {}
    if not acts:
        return None
    polite = sum(acts.get(act, 0.0) for act in _POLITE)
    likeliest = max(_POLITE if polite >= max(acts.values()) else acts, key=lambda act: acts.get(act, 0.0))
    sure = polite if likeliest in _POLITE else acts[likeliest]
    asks_nothing = likeliest == "advice" and not _ASKS_FOR_ADVICE.search(inputs.conversation.newest)
    is_for_this_talk = likeliest == "thanks" and reading.subject == "talking"
    may_be_anything = inputs.conversation.answered and not is_for_this_talk
    return likeliest if sure >= (SURE_ACT if may_be_anything or asks_nothing else ACT) else None


def _answers_a_question(inputs: StageInputs) -> bool:
    said, message = inputs.conversation.answered, inputs.conversation.newest
    short = is_within(message, words=SHORT_WORDS, han=SHORT_HAN)
    return short and bool(said) and _asks(said[-1].text[-200:])


def _to_answer(bank: Bank, message: str) -> Sequence[str]:
    said = plain(message).strip(" .!,;~…。！，；～")
    for answer in (bank.answers.affirmed, bank.answers.denied, bank.answers.unsure):
        if answer and said in answer.words:
            return answer.replies
    return bank.answers.other or ()
