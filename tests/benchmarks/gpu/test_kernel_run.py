"""The prepared run of the kernel, without a GPU: its rehearsal, what it keeps of a run that is cut, what it chooses."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.kernel.profile import metrics
from benchmarks.gpu.processes import ROOT, environment
from benchmarks.gpu.runs import KERNEL
from benchmarks.kernels.tunings import best, compiled_alike, tunings
from psychechat_kernels.fused_heads.tuning import DEFAULT, Tuning


def run(*options: str, out: Path) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "benchmarks.gpu", "kernel", "--rehearse", "--out", str(out), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.returncode, json.loads((out / "gpu-kernel.json").read_text("utf-8"))


@pytest.mark.long
def test_a_rehearsal_goes_through_every_step(tmp_path: Path) -> None:
    code, told = run("--minutes", "8", out=tmp_path)
    assert code == 0, (tmp_path / "gpu-kernel.log").read_text()
    steps = {step["name"]: step for step in told["steps"]}
    assert list(steps) == [step.name for step in KERNEL]
    assert {name: step["status"] for name, step in steps.items() if step["status"] != "done"} == {"profile": "skipped"}
    assert told["rehearsal"] is True
    assert steps["machine"]["gpu"] == "none: a rehearsal"
    assert [row["spills"] for row in steps["compile"]["rows"]] == [0, 0]
    assert steps["tests"]["rehearsed"]["counts"]["passed"] > 0
    assert all(row["right"] for row in steps["sweep"]["rows"])
    assert Tuning(**steps["benchmark"]["tuning"]) == Tuning(**steps["sweep"]["best"]["tuning"])
    assert not steps["benchmark"].get("wrong")
    assert len(list(tmp_path.iterdir())) <= 8, "what one machine gives back to another is counted"


WITHOUT = """
import runpy, sys
for name in ("typer", "rich", "click", "pydantic", "vllm", "ray", "psutil"):
    sys.modules[name] = None
sys.argv[:] = sys.argv[:1] + {arguments!r}
{run}
"""
"""A program for which these are not installed."""


def without(run: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = WITHOUT.format(run=run, arguments=list(arguments))
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment(interpreted=True),
        capture_output=True,
        text=True,
    )


def test_the_run_needs_torch_and_triton_alone() -> None:
    """A lent card has no network. Every step is imported."""
    told = without("runpy.run_module('benchmarks.gpu', run_name='__main__')", "kernel", "--help")
    assert told.returncode == 0, told.stderr
    assert "--minutes" in told.stdout
    steps = [step.module for step in KERNEL]
    done = without(f"import importlib\nfor name in {steps!r}: importlib.import_module(name)")
    assert done.returncode == 0, done.stderr


def test_a_step_that_there_is_not_is_named() -> None:
    done = without("runpy.run_module('benchmarks.gpu', run_name='__main__')", "kernel", "--only", "tea")
    assert done.returncode == 2
    assert "no step tea; there are machine, " in done.stderr


def test_a_step_whose_time_is_over_is_cut(tmp_path: Path) -> None:
    """Nothing can be imported in so little time."""
    code, told = run("--minutes", "0.01", "--only", "machine", out=tmp_path)
    assert [(step["name"], step["status"]) for step in told["steps"]] == [("machine", "cut")]
    assert code == 1


def test_a_sweep_begins_with_the_default_and_what_is_near_to_it() -> None:
    chosen = tunings()
    assert chosen[0] == DEFAULT
    assert len(set(chosen)) == len(chosen)
    changes = [sum(a != b for a, b in zip(tuning, DEFAULT, strict=True)) for tuning in chosen]
    assert changes == sorted(changes)
    assert len(set(map(compiled_alike, chosen))) < len(chosen)


def row(tuning: Tuning, case: str, us: float, *, right: bool = True) -> dict[str, Any]:
    return {"tuning": tuning._asdict(), "case": case, "us": us, "right": right}


def test_the_best_tuning_is_right_everywhere_and_fastest_on_the_whole() -> None:
    quick, wrong, unfinished = Tuning(warps=8), Tuning(block=128), Tuning(waves=8)
    rows = [row(DEFAULT, "a", 100), row(DEFAULT, "b", 10), row(quick, "a", 50), row(quick, "b", 12.5)]
    rows += [row(wrong, "a", 1), row(wrong, "b", 1, right=False), row(unfinished, "a", 1)]
    assert best(rows) == {"tuning": quick._asdict(), "times_as_fast": 1.265}  # the root of 2 x 0.8
    assert best(rows[:1] + rows[3:4]) is None, "the default lacks a case"
    assert best([*rows[:2], row(quick, "a", 200), row(quick, "b", 20)]) == {
        "tuning": DEFAULT._asdict(),
        "times_as_fast": 1.0,
    }


def test_a_profilers_table_is_read_wherever_it_begins() -> None:
    told = "\n".join(
        [
            "==PROF== Connected",
            '"ID","Kernel Name","Metric Name","Metric Unit","Metric Value"',
            '"0","fused_heads_kernel","DRAM Throughput","%","71.5"',
            '"0","fused_heads_kernel","Registers Per Thread","register/thread","190"',
            '"0","fused_heads_kernel","","",""',
        ]
    )
    assert metrics(told) == {"DRAM Throughput": "71.5 %", "Registers Per Thread": "190 register/thread"}
    assert metrics("==ERROR== ERR_NVGPUCTRPERM") == {}
