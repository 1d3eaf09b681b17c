"""What a step is given, and the page on which it leaves what it finds."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Skipped(Exception):
    """A step cannot be done here. The message says why."""


class Page:
    """A JSON file that is whole at any moment, so that whoever is cut off has lost nothing."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.facts: dict[str, Any] = {}

    def put(self, **facts: Any) -> None:
        self.facts |= facts
        write(self._file, self.facts)

    def append(self, name: str, row: Mapping[str, Any]) -> None:
        self.facts.setdefault(name, []).append(dict(row))
        write(self._file, self.facts)


@dataclass(frozen=True)
class Job:
    out: Path
    """Where files may be left, few: what one machine gives back to another is counted."""
    page: Page
    due: float
    """On time.monotonic's clock: when the step has to be over."""
    rehearse: bool
    options: Mapping[str, Any]
    before: Mapping[str, Mapping[str, Any]]
    """By name, what earlier steps of the run have found."""

    def left(self) -> float:
        """Seconds."""
        return self.due - time.monotonic()


def write(file: Path, content: Mapping[str, Any]) -> None:
    part = file.with_name(f".{file.name}.part")
    part.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")
    os.replace(part, file)
