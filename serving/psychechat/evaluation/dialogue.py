"""One dialogue: seeker and counselor in turn, until the seeker ends it or its turns are used up."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from psychechat.evaluation.cards import Card
from psychechat.evaluation.endpoint import Endpoint, NoAnswer, Reply
from psychechat.evaluation.seekers.base import Seeker, Spoken, SpokenFor

Row = dict[str, Any]
"""A dialogue as it is kept: numbers and labels, and words only where they were asked for."""

End = Literal["ended", "turns", "dropped"]
"""The seeker said so, the turns were used up, or somebody gave no answer."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What each dialogue of a run is held with."""

    counselor: Endpoint
    seeker: Seeker
    turns: int
    words: bool = False
    """Whether the row keeps them."""
    metadata: bool = True
    """Whether the counselor is told the session's name."""


async def hold(ask: Ask, card: Card, seed: int, session: str) -> Row:
    """The row of one dialogue. A party that gives no answer drops it, with the turns so far."""
    spoken: list[Spoken] = []
    replies: list[Reply] = []
    end: End = "turns"
    dropped = None
    try:
        while True:
            spoken.append(await ask.seeker.speak(card, spoken, [reply.text for reply in replies], seed))
            if spoken[-1].ends:
                end = "ended"
                break
            if len(spoken) == ask.turns:
                break
            replies.append(
                await ask.counselor.reply(_said(spoken, replies), session=session, seed=seed, known=ask.metadata)
            )
    except NoAnswer as error:
        end, dropped = "dropped", f"counselor: {error.kind}"
    except SpokenFor as error:
        end, dropped = "dropped", error.kind
    row: Row = {
        "card": card.id,
        "topic": card.topic,
        "language": card.language,
        "seed": seed,
        "start": card.valence,
        "goals": len(card.goals),
        "end": end,
        "dropped": dropped,
        "turns": [_turn(one, reply) for one, reply in zip(spoken, [*replies, *[None] * len(spoken)], strict=False)],
    }
    if ask.words:
        row["dialogue"] = _words(spoken, replies)
    return row


def _said(spoken: Sequence[Spoken], replies: Sequence[Reply]) -> list[tuple[Any, str]]:
    said: list[tuple[Any, str]] = []
    for place, one in enumerate(spoken):
        said.append(("user", one.text))
        if place < len(replies):
            said.append(("assistant", replies[place].text))
    return said


def _words(spoken: Sequence[Spoken], replies: Sequence[Reply]) -> list[dict[str, str]]:
    names = {"user": "seeker", "assistant": "counselor"}
    return [{"role": names[role], "text": text} for role, text in _said(spoken, replies)]


def _turn(spoken: Spoken, reply: Reply | None) -> Row:
    rating = spoken.rating
    return {
        "emotions": list(spoken.emotions),
        "valence": rating.valence,
        "event": spoken.event,
        "goals": None if rating.goals is None else list(rating.goals),
        "risk": rating.risk,
        "says": rating.says,
        "tries": spoken.tries,
        "reply": None if reply is None else _reply(reply),
    }


def _reply(reply: Reply) -> Row:
    findings = reply.found
    risk, review = reply.branch("risk"), reply.branch("review")
    return {
        "mode": findings.get("mode"),
        "reason": findings.get("reason"),
        "level": risk.get("level"),
        "held": reply.branch("risk", "conversation").get("held"),
        "fallback": review.get("fallback"),
        "rounds": review.get("rounds"),
        "passed": review.get("passed"),
        "hurting": any(one.get("cause") == "hurting" for one in reply.rows("guard")),
        "finish": reply.finish,
        "characters": len(reply.text),
        "seconds": round(reply.seconds, 3),
        "first_seconds": round(reply.first_seconds, 3),
    }
