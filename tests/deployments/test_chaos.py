"""A part of what `make chaos` does: two nodes, an update of everything under traffic, and a replica killed in it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.chaos.__main__ import play
from tests.support.durations import load_seconds

pytestmark = pytest.mark.e2e

QUICK = {"RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2"}
"""How long an ingress that goes stays in any case."""


def test_a_counselor_killed_in_an_update_costs_no_turn_its_answer(
    short_folder: Callable[[], Path], pytestconfig: pytest.Config
) -> None:
    calm = load_seconds(pytestconfig) / 15
    found = play("counselor", short_folder(), Console(), seekers=8, calm=calm, pace=0.05, env=QUICK)
    assert found["broken"] == [], found
    assert found["failed"] == found["cut_in_the_end"] == 0, found
    assert found["turns"] > 20
    assert found["crises"]["turns"] > 0
