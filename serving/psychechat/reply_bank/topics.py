"""Which of a bank's topics a message is about: by its n-grams, the words that name topics, and its subject."""

from collections.abc import Mapping
from math import exp, log

from psychechat.conversation import Reading
from psychechat.help.subjects import CERTAIN_OF_DEATH, Subject
from psychechat.reply_bank.bank import Bank, Topic
from psychechat.risk import Severity

CERTAIN = 0.4
"""Probability from which on a topic is answered, but for a death. The next likely ones are mostly of its subject."""
HEARD, HEARD_OF_DEATH = 0.3, 0.5
"""Probability of its subject, from which on a topic counts that its words alone can tell."""
CHATTING_BELOW = 0.4
"""Probability of all subjects together, below which somebody who names the weather chats about it."""

_SUBJECT, _NAMED = 0.5, 2.0
"""What a logarithm of the subject's probability counts beside the n-grams', and what it counts that a word names the
topic (decision 0051)."""
_LEAST, _NONE = 1e-4, 0.25
"""So much of a probability is never excluded; and what stands for the subject where it is about no topic."""


def likely(bank: Bank, message: str, reading: Reading) -> Topic | None:
    """None: it is about none, or that is not sure. A death that is named is spoken to, whatever else is."""
    about, told = reading.about, reading.words.topics
    chats = _is_chatting(reading, about)
    possible = {name: topic for name, topic in bank.topics.items() if chats or not topic.chat}
    named = [name for name in bank.named(message) if name in possible]
    by_words = [possible[name] for name in named if name not in told or _is_a_death(possible[name])]
    counting = [topic for topic in by_words if _counts(topic, about)]
    if counting:
        return max(counting, key=lambda topic: (_is_a_death(topic), about.get(topic.subject, 0.0)))
    odds = {
        name: exp(_weight(p, _of_subject(possible[name], about)) + _NAMED * (name in named))
        for name, p in told.items()
        if name in possible
    }
    others = 1.0 - sum(told[name] for name in odds)
    total = sum(odds.values()) + exp(_weight(others, _NONE))
    likeliest = max(odds, key=odds.__getitem__, default=None)
    if likeliest is None:
        return None
    topic = possible[likeliest]
    return topic if odds[likeliest] >= (CERTAIN_OF_DEATH if _is_a_death(topic) else CERTAIN) * total else None


def _is_chatting(reading: Reading, about: Mapping[Subject, float]) -> bool:
    """Nobody is chatted with about the weather who is hurt, has anything the matter, or hints at a risk."""
    is_light = reading.felt.tone in (None, "glad") and reading.severity is Severity.NONE
    return is_light and sum(about.values()) - about.get("talking", 0.0) < CHATTING_BELOW


def _is_a_death(topic: Topic) -> bool:
    return topic.subject == "death"


def _weight(p: float, of_subject: float) -> float:
    return log(max(p, _LEAST)) + _SUBJECT * log(max(of_subject, _LEAST))


def _of_subject(topic: Topic, about: Mapping[Subject, float]) -> float:
    """One chats about something where there is no subject."""
    return 1.0 if topic.chat else about.get(topic.subject, 0.0)


def _counts(topic: Topic, about: Mapping[Subject, float]) -> bool:
    return topic.chat or about.get(topic.subject, 0.0) >= (HEARD_OF_DEATH if _is_a_death(topic) else HEARD)
