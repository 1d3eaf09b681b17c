"""What docs/operations.md tells of a change of the release is what was written when it was measured."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
RESULT = ROOT / "benchmarks" / "results" / "2026-11-30" / "cluster.json"


def row(found: dict[str, Any]) -> str:
    crises = found["crises"]
    cells = [found["does"], found["turns"], found["retried"], found["cut_and_told"]]
    cells += [f"{found['failed']}, {found['lost']}", f"{crises['turns']}, {crises['unanswered']}"]
    return f"| {' | '.join(map(str, [*cells, crises['safe_templates']]))} | {found['restored_s']} s |"


def test_every_scenario_is_told_with_its_safe_templates() -> None:
    scenarios = json.loads(RESULT.read_text("utf-8"))["scenarios"].values()
    told = (ROOT / "docs" / "operations.md").read_text("utf-8").splitlines()
    assert len(scenarios) >= 2
    for found in scenarios:
        assert row(found) in told
        assert not found["safe_templates"], "the page says that crises alone were answered so"
