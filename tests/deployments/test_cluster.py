"""A part of what `make cluster` does: the rendered chart as pods in namespaces, and another policy."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cluster.container import inside
from helm.fetch import FetchFailed, fetch

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]


def can_be_acted_out() -> bool:
    try:
        fetch("4.1.4")
    except FetchFailed:
        return False
    return os.geteuid() == 0 and subprocess.run(inside(["ip", "link", "add", "type", "bridge"])).returncode == 0


def test_a_release_of_the_chart_serves_and_takes_another_policy(tmp_path: Path) -> None:
    if not can_be_acted_out():
        pytest.skip("takes Helm, root, and a network of its own")
    options = ["--calm", "5", "--seekers", "4", "--output", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.cluster", "policy", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "cluster.json").read_text())["scenarios"]["policy"]
    assert found["broken"] == []
    assert found["turns"] == found["whole"] > 5
    assert found["crises"]["unanswered"] == 0
