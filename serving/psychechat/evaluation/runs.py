"""Runs of many dialogues: several at once, kept in a folder as they end, gone on with where an earlier run stopped.

The folder holds `run.json` (what was asked of whom), `rows.jsonl` (a dialogue a line), `summary.json`
and `report.html`.
"""

import asyncio
import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from psychechat.evaluation.cards import Card
from psychechat.evaluation.dialogue import Ask, Row, hold

RUN, ROWS, SUMMARY, PAGE = "run.json", "rows.jsonl", "summary.json", "report.html"


class OtherRun(Exception):
    """A folder that holds a run of other cards, models or turns, or none; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A run's folder, as it was found."""

    folder: Path
    about: Mapping[str, Any]
    rows: Sequence[Row]
    """Whole dialogues, then those that were dropped and not held again."""


def begun(folder: Path, about: Mapping[str, Any]) -> Kept:
    """The folder of a run, new or to be gone on with. Raises OtherRun or OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / RUN
    if file.is_file():
        kept = read(folder)
        if changed := sorted(key for key in about.keys() | kept.about.keys() if about.get(key) != kept.about.get(key)):
            raise OtherRun(
                f"{folder} holds a run with other {', '.join(changed)}: ask as its {RUN} says, name another --out, or "
                "remove it."
            )
        return kept
    _written(file, json.dumps(about, ensure_ascii=False, indent=1) + "\n")
    return Kept(folder, about, ())


def read(folder: Path) -> Kept:
    """Raises OtherRun where there is no run. A last line that was cut off is no row."""
    try:
        about = orjson.loads((folder / RUN).read_bytes())
        lines = (folder / ROWS).read_bytes().splitlines() if (folder / ROWS).is_file() else []
    except FileNotFoundError:
        raise OtherRun(f"{folder} holds no run of psychechat evaluate.") from None
    except ValueError:
        raise OtherRun(f"{folder / RUN} is no JSON: remove the folder.") from None
    newest: dict[tuple[str, int], Row] = {}
    for line in lines:
        try:
            row: Row = orjson.loads(line)
        except ValueError:
            continue
        newest[row["card"], row["seed"]] = row
    rows = sorted(newest.values(), key=lambda row: row["end"] == "dropped")
    return Kept(folder, about, rows)


async def go_on(
    kept: Kept, ask: Ask, cards: Sequence[Card], seeds: int, workers: int, told: Callable[[Row], None]
) -> None:
    """Hold the dialogues that are missing, dropped ones among them. `told` hears of each that has ended.

    Raises OSError where a row cannot be kept.
    """
    done = {(row["card"], row["seed"]) for row in kept.rows if row["end"] != "dropped"}
    waiting = iter([(card, seed) for seed in range(seeds) for card in cards if (card.id, seed) not in done])

    async def work() -> None:
        for card, seed in waiting:
            row = await hold(ask, card, seed, f"evaluate-{secrets.token_hex(8)}-{card.id}"[:256])
            _add(kept.folder / ROWS, row)
            told(row)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(work())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _add(file: Path, row: Row) -> None:
    """A line more. What a run that was killed left of a line is ended first."""
    with os.fdopen(os.open(file, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600), "r+b") as rows:
        if (size := rows.seek(0, os.SEEK_END)) and (rows.seek(size - 1), rows.read(1))[1] != b"\n":
            rows.write(b"\n")
        rows.write(orjson.dumps(row) + b"\n")


def _written(file: Path, text: str) -> None:
    with os.fdopen(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(text)


def write(folder: Path, name: str, text: str) -> None:
    """A file of the folder, readable by its owner only."""
    _written(folder / name, text)
