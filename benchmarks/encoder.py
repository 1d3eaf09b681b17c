"""The classifier's engine with products in bf16 beside the same in float32: `python -m benchmarks.encoder`.

Both are started as `demo-cpu` starts its classifier and take turns on one core, round after round: texts one at a time,
and in batches of 64. Seconds of the wall and of the engine's processes, for a busy machine lengthens the first alone.
Then both read the dev texts of the heads, and every decision of the server's thresholds is compared. No text is shown.
"""

import asyncio
import json
import os
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import psutil
import typer
from rich.console import Console

from benchmarks.provenance import provenance, today
from benchmarks.speed import conversations
from models import data
from psychechat.conversation import Assessment
from psychechat.demo import encoder
from psychechat.demo.thresholds import HURTING_AT
from psychechat.emotion import Group
from psychechat.engines.base import Call, Pair
from psychechat.policy import Policy
from psychechat.risk import CRISIS, Severity

CORE = "0"
BATCH = 64
SINGLES, BATCHES = 64, 2
RISKY, OTHERS, DRAFTS = 1200, 700, 250
SIDES = ("float32", "half products")
CALL = Call("benchmark", "benchmark")

T = TypeVar("T")
R = TypeVar("R")


class Side:
    """One engine, and the processes that it is."""

    def __init__(self, name: str, folder: Path) -> None:
        from psychechat.engines.vllm.classifier import VllmClassifier

        before = set(psutil.Process().children(recursive=True))
        self.name = name
        self.engine = VllmClassifier(
            folder,
            distributed_executor_backend="uni",
            additional_config={"half_products": name == SIDES[1]},
        )
        self._processes = set(psutil.Process().children(recursive=True)) - before
        for thread in (thread.id for process in self._processes for thread in process.threads()):
            os.setpriority(os.PRIO_PROCESS, thread, 0)  # what else runs here shall not choose whom it leaves time

    def cpu_seconds(self) -> float:
        times = [process.cpu_times() for process in self._processes]
        return float(sum(spent.user + spent.system for spent in times))

    async def timed(self, calls: Sequence[Sequence[str]]) -> dict[str, float]:
        """`p50_ms`: of a call. `texts_s`: of the wall. `cpu_ms`: the engine's, a text."""
        seconds, cpu, began = [], self.cpu_seconds(), time.perf_counter()
        for texts in calls:
            started = time.perf_counter()
            await self.engine.classify(texts, CALL)
            seconds.append(time.perf_counter() - started)
        count = sum(map(len, calls))
        return {
            "p50_ms": round(1000 * statistics.median(seconds), 2),
            "texts_s": round(count / (time.perf_counter() - began), 2),
            "cpu_ms": round(1000 * (self.cpu_seconds() - cpu) / count, 2),
        }


@contextmanager
def both() -> Iterator[list[Side]]:
    os.environ |= {
        "GOMP_CPU_AFFINITY": CORE,
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
    }
    folder = encoder.prepare(Path("~/.cache/psychechat").expanduser())
    sides: list[Side] = []
    try:
        for name in SIDES:
            sides.append(Side(name, folder))
        yield sides
    finally:
        for side in sides:
            side.engine.shutdown()


async def rounds(sides: Sequence[Side], count: int, texts: Sequence[str], console: Console) -> dict[str, Any]:
    """Who goes first changes. The first round warms up."""
    size = SINGLES + BATCHES * BATCH
    found: list[dict[str, Any]] = []
    for number in range(count + 1):
        own = [texts[(number * size + i) % len(texts)] for i in range(size)]
        loads = {
            "single": [[text] for text in own[:SINGLES]],
            "batch": [own[at : at + BATCH] for at in range(SINGLES, size, BATCH)],
        }
        for side in sides if number % 2 else sides[::-1]:
            for load, calls in loads.items():
                row = {"round": number, "side": side.name, "load": load, **await side.timed(calls)}
                console.log(row)
                found += [row] if number else []
    return {"rows": found, "half products beside float32": {load: ratios(found, load) for load in ("single", "batch")}}


def ratios(rows: Sequence[dict[str, Any]], load: str) -> dict[str, float]:
    """Medians of the rounds' own."""
    exact, halves = ([row for row in rows if row["load"] == load and row["side"] == side] for side in SIDES)
    exact.sort(key=lambda row: row["round"])
    halves.sort(key=lambda row: row["round"])
    return {
        figure: round(statistics.median(b[figure] / a[figure] for a, b in zip(exact, halves, strict=True)), 3)
        for figure in ("p50_ms", "texts_s", "cpu_ms")
    }


def dev() -> tuple[list[data.Example], list[data.Example]]:
    """Texts, those with a risk label first, and drafts; the same ones each time."""
    examples = [example for example in data.load(0) if example.split == "dev"]
    random.Random(1).shuffle(examples)
    risky = [example for example in examples if not example.draft and example.risk >= 0][:RISKY]
    others = [example for example in examples if not example.draft and example.risk < 0][:OTHERS]
    return risky + others, [example for example in examples if example.draft][:DRAFTS]


async def decisions(sides: Sequence[Side]) -> dict[str, Any]:
    examples, drafts = dev()
    texts = [example.text for example in examples]
    pairs = [Pair(example.text, example.draft) for example in drafts]
    read = [await each(side.engine.classify, texts) for side in sides]
    judged = [await each(side.engine.judge, pairs) for side in sides]
    return compared(read[0], read[1], examples) | {
        "drafts": len(pairs),
        "drafts judged otherwise": sum(
            (a >= HURTING_AT) != (b >= HURTING_AT) for a, b in zip(judged[0], judged[1], strict=True)
        ),
        "hurting, largest difference": round(max(abs(a - b) for a, b in zip(judged[0], judged[1], strict=True)), 4),
    }


async def each(ask: Callable[[Sequence[T], Call], Awaitable[Sequence[R] | None]], asked: Sequence[T]) -> list[R]:
    """The answers, of one batch after the other."""
    return [answer for at in range(0, len(asked), BATCH) for answer in await ask(asked[at : at + BATCH], CALL) or ()]


def compared(
    exact: Sequence[Assessment], halves: Sequence[Assessment], examples: Sequence[data.Example]
) -> dict[str, Any]:
    """Counts of each side where both sides have one: float32's first."""
    policy = Policy()
    at, risk = policy.emotion_thresholds.by_group, policy.risk.by_severity
    both = list(zip(exact, halves, strict=True))
    emotion = [abs(x - y) for a, b in both for g in Group for x, y in zip(a.groups[g], b.groups[g], strict=True)]
    severities = [abs(a.at_least(s) - b.at_least(s)) for a, b in both for s in Severity]
    grave = [example.risk >= CRISIS for example in examples]
    calm = [0 <= example.risk < CRISIS for example in examples]

    def crises(among: Sequence[bool]) -> list[int]:
        """That float32 finds among these, and halves."""
        sides = (exact, halves)
        return [sum(a.severity(risk) >= CRISIS for a, one in zip(side, among, strict=True) if one) for side in sides]

    return {
        "texts": len(both),
        "emotion, largest difference": round(max(emotion), 4),
        "risk, largest difference": round(max(severities), 4),
        "groups": len(both) * len(Group),
        "groups found by one side alone": sum(
            (1 - a.groups[g][0] >= at[g]) != (1 - b.groups[g][0] >= at[g]) for a, b in both for g in Group
        ),
        "severities that differ": sum(a.severity(risk) != b.severity(risk) for a, b in both),
        "crises that differ": sum((a.severity(risk) >= CRISIS) != (b.severity(risk) >= CRISIS) for a, b in both),
        "labelled crises": sum(grave),
        "labelled crises seen": crises(grave),
        "false alarms": crises(calm),
    }


async def measured(count: int, console: Console, path: Path, found: dict[str, Any], *, reads: bool) -> None:
    texts = [session.turns[0].newest for session in conversations.load(None)]
    random.Random(0).shuffle(texts)
    with both() as sides:
        found |= await rounds(sides, count, [text for text in texts if len(text) <= 2400], console)
        write(path, found)
        if reads:
            write(path, found | {"decisions": await decisions(sides)})


def write(path: Path, found: dict[str, Any]) -> None:
    path.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def main(
    count: Annotated[int, typer.Option("--rounds", min=1, help="How often the engines take turns.")] = 5,
    reads: Annotated[bool, typer.Option("--decisions/--no-decisions", help="Compare those on dev texts too.")] = True,
    output: Annotated[Path | None, typer.Option(help="Folder for the results. [benchmarks/results/DATE]")] = None,
) -> None:
    """Measure what products in bf16 are worth to the classifier on a CPU, and what they change."""
    console = Console(stderr=True)
    command = f"python -m benchmarks.encoder --rounds {count}" + ("" if reads else " --no-decisions")
    path = today(output) / "encoder.json"
    asyncio.run(measured(count, console, path, provenance(command), reads=reads))
    console.print(f"Written to {path}.")


if __name__ == "__main__":
    typer.run(main)
