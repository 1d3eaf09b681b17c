"""Rows of figures as they come, kept where a run that ended early finds them again. No row holds a text."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

KEPT = Path(__file__).resolve().parents[2] / "build" / "care"

Row = dict[str, Any]
Job = Callable[[], Awaitable[Row]]


class OtherRun(Exception):
    """What was kept is of another commit or other options, so it cannot be gone on with."""


class Rows:
    """Of one part, by name. `about` is what must be the same for a run to go on where another one ended."""

    def __init__(self, part: str, about: Mapping[str, Any], *, resume: bool, folder: Path = KEPT) -> None:
        self._file = folder / f"{part}.jsonl"
        self.found: dict[str, Row] = {}
        heading = json.dumps(dict(about))
        if resume and self._file.is_file():
            kept, *rows = self._file.read_text("utf-8").splitlines()
            if kept != heading:
                raise OtherRun(f"{self._file} is of another run ({kept}): leave out --resume to begin anew.")
            self.found = dict(map(json.loads, rows))
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._file.write_text(heading + "\n", "utf-8")

    def add(self, name: str, row: Row) -> None:
        self.found[name] = row
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, row], ensure_ascii=False) + "\n")


async def each(rows: Rows, jobs: Mapping[str, Job], at_once: int, console: Console, what: str) -> list[Row]:
    """The row of each job, in their order; those that are kept are not done again."""
    left = [name for name in jobs if name not in rows.found]
    told, total = len(jobs) - len(left), len(jobs)
    waiting = iter(left)
    console.log(f"{what}: {told} of {total}")

    async def work() -> None:
        nonlocal told
        for name in waiting:
            rows.add(name, await jobs[name]())
            told += 1
            if told % max(1, total // 10) == 0:
                console.log(f"{what}: {told} of {total}")

    await asyncio.gather(*(work() for _ in range(at_once)))
    return [rows.found[name] for name in jobs]
