"""A minute of what `make chaos` does: two nodes, an update of everything under traffic, and a replica killed in it."""

from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.chaos.__main__ import play

pytestmark = pytest.mark.e2e

QUICK = {"RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5"}
"""How long an ingress that goes stays in any case."""


def test_a_counselor_killed_in_an_update_costs_no_turn_its_answer(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder: Path = tmp_path_factory.mktemp("r")
    found = play("counselor", folder, Console(), seekers=8, calm=2.0, pace=0.05, env=QUICK)
    assert found["broken"] == [], found
    assert found["failed"] == found["cut_in_the_end"] == 0, found
    assert found["turns"] > 20
    assert found["crises"]["turns"] > 0
