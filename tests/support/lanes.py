"""What pytest-xdist runs where, and what first: two long lanes beside each other, and the other files as they fit.

In the first lane real engines, and what looks at the clock, never meet their like. In the second are servers and Rays
with scripted engines, which mostly wait. All else is handed out by file, so that a module's fixtures start once.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

TESTS = Path(__file__).parents[1]
MACHINE, RAY = "machine", "ray"
FIRST = (
    *(MACHINE, RAY, "kernels/test_fused_heads.py", "serving/demo/test_encoder.py", "test_dockerfile.py"),
    *("serving/safety/test_phrases.py", "serving/pipeline/test_turn.py", "helm/test_chart.py"),
    "models/test_train_heads.py",
)
"""Whoever is free takes the next: what takes longest comes first, so that both workers end together."""
_SCRIPTED = ("test_tutorial.py", "e2e/test_playground.py")
"""Of the whole server without an engine, wherever they are."""


@cache
def lane(file: Path) -> str:
    """By the marks in the file: an engine and a server cost their time for all of its tests."""
    marks = set(re.findall(r"pytest\.mark\.(engine|e2e|clock)\b", file.read_text("utf-8")))
    path = file.relative_to(TESTS)
    if path.as_posix() in _SCRIPTED or (path.parts[0] in ("deployments", "helm") and marks & {"engine", "e2e"}):
        return RAY
    if path.parts[0] == "e2e" or marks:
        return MACHINE
    return path.as_posix()


def arrange(items: list[pytest.Item]) -> None:
    """Lanes are handed out in the order of their first tests. A server of tests/e2e stays until its worker ends.

    Prometheus, which watches it, has seen its minutes by the time it is asked.
    """

    def place(item: pytest.Item) -> tuple[int, bool, bool]:
        its = lane(item.path)
        of_server = item.path.is_relative_to(TESTS / "e2e")
        return FIRST.index(its) if its in FIRST else len(FIRST), of_server, item.path.name == "test_prometheus.py"

    items.sort(key=place)


class Lanes(LoadScopeScheduling):  # type: ignore[misc]  # which has no types
    """Whoever begins a lane runs all of it."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False  # by the number of tests, which says little about their time
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return lane(self.config.rootpath / nodeid.partition("::")[0])
