"""What calm lines should make of the classifier's word: `python -m models.doubts`.

Conversations that nothing learned from (`models/data/conversations`) are read as the server reads them, their phrases
included, under several rules of doubt (`HoldRules.doubts`). The table tells what each finds and what it mistakes.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from models import written
from models.readings import assessments
from models.train_classifier import RUNS
from models.written import Talk
from psychechat.conversation import Assessment, Reading
from psychechat.demo.encoder import HEADS, prepare
from psychechat.demo.thresholds import VETO_BELOW
from psychechat.policy import Policy
from psychechat.risk import HoldRules, RiskState, next_state
from psychechat.safety import crisis
from psychechat.safety.conversation_risk import Names, SeekerLine, line_reading, read_line, seeker_lines

RULES: Sequence[tuple[float, ...]] = (
    (1,),
    (1, 2),
    (1, 2, 4),
    (1, 3, 6),
    (1, 4, 8),
    (1, 4, 12),
    (1, 6, 20),
    (1, 10, 40),
)
IN_DANGER = ("slow_burn", "sudden")


@dataclass(slots=True)
class Counts:
    """Of the conversations of each kind: all, and those that raised care; and of the seeker's lines."""

    talks: Counter[str] = field(default_factory=Counter)
    raised: Counter[str] = field(default_factory=Counter)
    lines: int = 0
    held: int = 0
    grave: int = 0
    missed: int = 0
    """Of the lines in danger (`grave`): those that neither are a crisis nor come while one holds the conversation."""

    def add(self, talk: Talk, states: Sequence[RiskState], lines: Sequence[SeekerLine]) -> None:
        self.talks[talk.kind] += 1
        self.raised[talk.kind] += any(state.held or state.is_rising for state in states)
        if talk.kind not in IN_DANGER:
            self.lines += len(states)
            self.held += sum(state.held for state in states)
        for state, line in zip(states, lines, strict=True):
            if talk.in_danger[line.until - 1]:
                self.grave += 1
                self.missed += not state.held

    def share(self, *kinds: str) -> str:
        return f"{sum(self.raised[kind] for kind in kinds)}/{sum(self.talks[kind] for kind in kinds)}"


def states(
    talk: Talk, known: Mapping[str, Assessment], policy: Policy, rules: HoldRules
) -> Iterator[tuple[SeekerLine, RiskState]]:
    """The state after each of the seeker's lines."""
    names, state = Names(str, lambda: [str(place) for place in range(len(talk.conversation.utterances))]), RiskState()
    for line in seeker_lines(talk.conversation):
        reading = read_line(line, phrases(talk, line, policy), known, VETO_BELOW, state)
        reading = replace(reading, doubt=rules.doubt(state)) if reading.doubt > 1 else reading
        state = next_state(state, [line_reading(names, line, reading)], rules)
        yield line, state


def passages(talk: Talk, policy: Policy) -> Iterator[str]:
    for line in seeker_lines(talk.conversation):
        yield from line.passages
        yield from phrases(talk, line, policy).doubted


def phrases(talk: Talk, line: SeekerLine, policy: Policy) -> Reading:
    """What the listed ones say of the line."""
    return crisis.read(Reading(talk.language, policy.thresholds), line.text, policy.crisis.backstop)


def main(
    heads: Annotated[Path, typer.Option(help="The file of heads.")] = HEADS,
    ideation: Annotated[float | None, typer.Option(help="The threshold; without it the policy's.")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
) -> None:
    console = Console(stderr=True)
    torch.set_num_threads(threads)
    policy = Policy() if ideation is None else Policy.model_validate({"risk": {"ideation": ideation}})
    texts = list(dict.fromkeys(passage for talk in written.talks() for passage in passages(talk, policy)))
    folder = prepare(RUNS / "doubts", heads=heads, console=console)
    known = dict(zip(texts, assessments(folder, texts), strict=True))
    table = Table("doubts", "slow burns", "sudden", "grief", "break-up, exams", "calm", "turns held", "lines missed")
    for doubts in RULES:
        counts = Counts()
        for talk in written.talks():
            lines, after = zip(*states(talk, known, policy, HoldRules(doubts=doubts)), strict=True)
            counts.add(talk, after, lines)
        kinds = [counts.share(kind) for kind in (*IN_DANGER, "grief", "breakup_exams", "calm")]
        shown = ", ".join(f"{doubt:g}" for doubt in doubts)
        table.add_row(shown, *kinds, f"{counts.held / counts.lines:.1%}", f"{counts.missed}/{counts.grave}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
