"""What a turn of Agent Mode takes of the counselor's engine, with what ours saves there, and without.

Steps, sequences in them, tokens computed, and time of the processor, which a machine that does other things tells too.
One engine answers the same turns by each way in turn, greedily. The classifier answers from a table.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import typer
from prometheus_client import REGISTRY
from rich.console import Console
from rich.table import Table

from benchmarks.provenance import provenance, today
from benchmarks.speed import conversations
from benchmarks.speed.conversations import Session, Turn
from psychechat import prompts
from psychechat.config import MemorySettings
from psychechat.engines.base import StageName
from psychechat.engines.cast import everywhere
from psychechat.engines.scripted import ScriptedClassifier
from psychechat.memory.local import LocalMemory
from psychechat.pipeline.request import Outcome, TurnRequest
from psychechat.pipeline.services import Pipeline
from psychechat.pipeline.turn import run_turn
from psychechat.policy import Limits, Policy
from psychechat.telemetry import Metrics

SEQUENCES = 128
"""That the engine works on at once, as in `benchmarks.speed`."""
LEVELS = {1: 6, 16: 32}
"""Turns by how many are asked for at once. Each is a conversation of its own."""
WAYS: Mapping[str, tuple[int, int]] = {"before": (1, 1), "ends": (0, 1), "both": (0, 0)}
"""What is switched off: `forced_ends`, `whole_answers`."""
ENGINE: Mapping[str, Any] = {
    "max_num_seqs": SEQUENCES,
    "max_model_len": 8192,
    "enforce_eager": True,
    "distributed_executor_backend": "uni",
    "scheduler_cls": "benchmarks.steps_scheduler.Counting",
}
ENVIRONMENT: Mapping[str, str] = {
    "GOMP_CPU_AFFINITY": "1",
    "OMP_NUM_THREADS": "1",  # as Ray sets it for an engine with one core: a second thread on it would spin
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
}
FIGURES = ("turns_s", "turn_ms", "engine_ms", "front_ms", "steps", "sequences", "tokens", "generated", "messages")
COUNTED = {
    "vllm:generation_tokens_total": "generated",
    "vllm:spec_decode_num_draft_tokens_total": "proposed",
    "vllm:spec_decode_num_accepted_tokens_total": "accepted",
    "vllm:iteration_tokens_total_count": "messages",
}


def counted() -> Counter[str]:
    """vLLM's own counters, and the scheduler's."""
    from benchmarks.steps_scheduler import board

    samples = (sample for family in REGISTRY.collect() for sample in family.samples)
    found = Counter({COUNTED[sample.name]: sample.value for sample in samples if sample.name in COUNTED})
    return found + Counter(dict(zip(("steps", "sequences", "tokens"), board()[:3].tolist(), strict=True)))


def processor() -> Counter[str]:
    """Seconds of the engine's processes, and of this one, which asks and renders."""
    own = psutil.Process()
    engines = [child.cpu_times() for child in own.children(recursive=True)]
    mine = own.cpu_times()
    return Counter(
        engine_ms=1000 * sum(times.user + times.system for times in engines), front_ms=1000 * (mine.user + mine.system)
    )


class Bench:
    def __init__(self, sessions: Sequence[Session]) -> None:
        from psychechat.engines.vllm.generator import VllmGenerator

        self._sessions = sessions
        self.engine = VllmGenerator(str(files("psychechat").joinpath("demo", "counselor")), engine_args=ENGINE)
        self._pipeline = Pipeline(
            ScriptedClassifier({}),
            everywhere(self.engine),
            {"en": prompts.load("en"), "zh": prompts.load("zh")},
            LocalMemory(MemorySettings()),
            Metrics(),
            Policy(limits=Limits(turn_seconds=600)),
            max_sequences=lambda _: SEQUENCES,
        )

    async def warm(self) -> None:
        packs = self._pipeline.packs.values()
        await self.engine.warm([stage for pack in packs for name in StageName for stage in pack.stages(name)])

    async def load(self, way: str, at_once: int, seed: str) -> tuple[dict[str, float], list[str]]:
        """Figures by turn, and the replies."""
        from benchmarks.steps_scheduler import board

        board()[3:] = WAYS[way]
        waiting = conversations.pick(self._sessions, LEVELS[at_once], 1, seed=seed)
        replies: list[str] = []
        seconds: list[float] = []

        async def person() -> None:
            while waiting:
                session = waiting.pop()
                began = time.perf_counter()
                outcome = await self._ask(session.turns[0], f"{way} {seed} {session.name}")
                seconds.append(time.perf_counter() - began)
                replies.append(outcome.reply.choices[0].text)

        await self.engine._engine.reset_prefix_cache()
        await self._ask(self._sessions[0].turns[0], f"{way} {seed}")  # leaves the system's text in the cache
        before, began = counted() + processor(), time.perf_counter()
        await asyncio.gather(*(person() for _ in range(at_once)))
        whole = time.perf_counter() - began
        after = counted() + processor()
        spent = {name: (after[name] - before[name]) / len(seconds) for name in after}
        return {"turns_s": len(seconds) / whole, "turn_ms": 1000 * statistics.median(seconds), **spent}, replies

    async def _ask(self, turn: Turn, session: str) -> Outcome:
        request = TurnRequest(turn.conversation, "agent", session, session=session)
        return await run_turn(self._pipeline, request, lambda _: None)


def _as_urgent_as_all_else() -> None:
    """The engine's priority, where that is allowed: nothing else here has to go first."""
    for child in psutil.Process().children(recursive=True):
        for thread in child.threads():
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, thread.id, 0)


async def measure(sessions: Sequence[Session], rounds: int, levels: Sequence[int], console: Console) -> list[Any]:
    bench = Bench(sessions)
    rows = []
    try:
        _as_urgent_as_all_else()
        await bench.warm()
        console.log("the engine is ready")
        for number in range(rounds):
            for level in levels:
                ways = [*WAYS][number % len(WAYS) :] + [*WAYS][: number % len(WAYS)]
                answered = {}
                for way in ways:
                    figures, answered[way] = await bench.load(way, level, f"{number} {level}")
                    rows.append({"way": way, "at_once": level, "round": number, **figures})
                    console.log(way, level, {name: round(figures[name], 1) for name in FIGURES})
                for row, way in zip(rows[-len(ways) :], ways, strict=True):
                    row["same_replies"] = (Counter(answered["before"]) & Counter(answered[way])).total()
    finally:
        bench.engine.shutdown()
    return rows


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds, and of each round's ratio to `before`."""
    told: dict[str, Any] = {}
    for level in dict.fromkeys(row["at_once"] for row in rows):
        of_level = [row for row in rows if row["at_once"] == level]
        base = {row["round"]: row for row in of_level if row["way"] == "before"}
        told[str(level)] = {
            way: {
                figure: [
                    round(statistics.median(row[figure] for row in of_level if row["way"] == way), 2),
                    round(
                        statistics.median(
                            row[figure] / base[row["round"]][figure] for row in of_level if row["way"] == way
                        ),
                        3,
                    ),
                ]
                for figure in FIGURES
            }
            for way in WAYS
        }
    return told


def main(
    rounds: Annotated[int, typer.Option(min=1, help="How often each way is taken.")] = 3,
    level: Annotated[list[int] | None, typer.Option(help="Turns at once.")] = None,
    data: Annotated[Path | None, typer.Option(help="Conversations, as of benchmarks.speed.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for steps.json. [benchmarks/results/DATE]")] = None,
) -> None:
    """Count what a turn of Agent Mode takes of its engine."""
    from benchmarks.steps_scheduler import BOARD

    console = Console(width=160)
    with tempfile.NamedTemporaryFile() as file:
        np.zeros(5, np.int64).tofile(file.name)
        os.environ.update(ENVIRONMENT, **{BOARD: file.name})
        rows = asyncio.run(measure(conversations.load(data), rounds, level or list(LEVELS), console))
    told = summary(rows)
    table = Table("at once", "way", *FIGURES)
    for at_once, ways in told.items():
        for way, figures in ways.items():
            table.add_row(at_once, way, *(f"{value:g} ({ratio:g})" for value, ratio in figures.values()))
    console.print(table)
    path = today(output) / "steps.json"
    about = provenance("python -m benchmarks.steps " + " ".join(sys.argv[1:]))
    path.write_text(json.dumps({**about, "summary": told, "rows": rows}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    typer.run(main)
