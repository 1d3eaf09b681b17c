"""What the parts share: what they are given, and a dialogue gone through turn by turn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.care.asking import Answer, Client, messages
from benchmarks.care.progress import Row, Rows
from benchmarks.care.reading import NEXT
from benchmarks.care.texts import Dialogue
from benchmarks.provenance import commit

Found = dict[str, Any]
"""Figures of a part. `missed` lists, in words, what should be otherwise."""

RAISED = ("crisis", "held", "rising")
"""Reasons of a turn that is answered with more care because of what the conversation has shown."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one part."""

    console: Console
    data: Path
    seed: int = 0
    at_once: int = 1
    resume: bool = False
    server: str = ""
    """The address of the server that is asked; empty for one of the benchmark's own."""

    def rows(self, part: str, **about: Any) -> Rows:
        what = {"commit": commit(), "seed": self.seed, "server": self.server, **about}
        return Rows(part, what, resume=self.resume)


async def walk(client: Client, dialogue: Dialogue, session: str) -> list[Answer]:
    """The answers to a dialogue's turns, one after the other, with the dialogue's own counselor's lines between."""
    return [await one(client, dialogue, end, session) for end in dialogue.turns]


async def one(client: Client, dialogue: Dialogue, end: int, session: str | None = None) -> Answer:
    """The answer to the first `end` lines."""
    NEXT.set(dialogue.lines[end] if end < len(dialogue.lines) else "")
    return await client.turn(messages(dialogue.lines[:end]), session=session)


def turn_row(answer: Answer) -> Row:
    """How a turn was read and routed."""
    risk = answer.found.get("risk") or {}
    return {
        "reason": answer.reason,
        "mode": answer.found.get("mode"),
        "level": risk.get("level"),
        "kind": risk.get("kind"),
        "trend": (risk.get("conversation") or {}).get("trend"),
        "held": answer.is_held,
        "error": f"{answer.status} {answer.code}" if answer.is_error else None,
    }


def noticed_by(turns: Sequence[Row]) -> dict[str, int]:
    """Who took a turn for a crisis: a phrase, which tells its kind, or the classifier alone."""
    crises = [turn["kind"] is not None for turn in turns if turn["reason"] == "crisis"]
    return {"phrase": sum(crises), "classifier": len(crises) - sum(crises)}


def errors(turns: Sequence[Row]) -> int:
    return sum(turn["error"] is not None for turn in turns)


def complaints(*checks: tuple[bool, str]) -> list[str]:
    """The words of those that hold not."""
    return [words for good, words in checks if not good]
