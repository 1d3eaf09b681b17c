"""The kernel benchmark without a GPU: it runs, its baselines are what they say, and a wrong kernel stops it."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from typer import Exit, Typer
from typer.testing import CliRunner

from benchmarks.kernels import __main__ as command
from benchmarks.kernels import contenders, targets
from benchmarks.kernels.cases import Case, build, cases, small_cases
from psychechat_kernels.fused_heads import Pooling

CPU = torch.device("cpu")
reads = pytest.mark.reads("kernels", "benchmarks/kernels", "tests/benchmarks/test_kernels.py", "requirements-cpu.lock")


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.compile takes a minute and is not what is tested."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)


@reads
@pytest.mark.usefixtures("uncompiled")
@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU it is the real run that should be done")
def test_a_rehearsal_runs_everything_and_says_what_it_is(tmp_path: Path) -> None:
    app = Typer()
    app.command()(command.main)
    result = CliRunner().invoke(app, ["--rehearse", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader((tmp_path / "kernels.csv").read_text().splitlines()))
    assert len(rows) == len(list(small_cases()))
    for row in rows:
        assert row["gpu"] == "none: a rehearsal"
        assert all(float(row[f"{name}_us"]) > 0 for name in ("fused", "reference", "compiled", "vllm", "empty"))
    assert "</svg>" in (tmp_path / "kernels.svg").read_text()


def test_without_a_gpu_it_says_what_to_do() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    app = Typer()
    app.command()(command.main)
    for arguments, advice in (([], "--rehearse"), (["--rehearse"], "--out")):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2
        assert advice in result.output


@pytest.mark.usefixtures("uncompiled")
def test_a_wrong_contender_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    right = contenders.vllm_chain

    def wrong(inputs: Any, pooling: Pooling, longest: int, out: torch.Tensor) -> None:
        right(inputs, pooling, longest, out)
        out[-1, -1] += 1e-3

    monkeypatch.setattr(contenders, "vllm_chain", wrong)
    with pytest.raises(Exit):
        command.gate([Case(3, 4, 64, "mean")], CPU, Console(quiet=True))


def test_the_grid_is_the_projects_and_fits_the_memory() -> None:
    everything = list(cases(10**15))
    assert len(everything) == 5 * 5 * 3 * 2 + 3 * 3 * 4
    assert len(set(everything)) == len(everything)
    assert max(case.hidden_bytes for case in cases(2**30)) <= 2**30


@pytest.mark.parametrize("case", [Case(64, 512, 64, "mean", "unequal"), Case(3, 9, 64, "mean")], ids=str)
def test_inputs_are_as_the_server_has_them(case: Case) -> None:
    """int32, since vLLM's are; sequences one after the other, of which the longest is as long as the case says."""
    inputs = build(case, CPU)
    assert inputs.starts.dtype == inputs.ends.dtype == torch.int32
    assert inputs.starts[0] == 0
    assert torch.equal(inputs.starts[1:], inputs.ends[:-1] + 1)
    assert len(inputs.hidden) == inputs.ends[-1] + 1 == case.tokens
    lengths = inputs.ends - inputs.starts + 1
    assert torch.equal(lengths, inputs.lengths)
    assert (int(lengths.min()) >= 1, int(lengths.max())) == (True, case.length)
    assert (len(set(lengths.tolist())) > 10) is (case.lengths == "unequal")
    contenders.reference_heads(inputs, "mean", case.length, torch.empty(case.batch, sum(contenders.GROUPS)))


def test_targets_are_held_against_the_rows() -> None:
    def row(pooling: str, batch: int, mb: float, **times: float) -> dict[str, Any]:
        base = {"fused_us": 100.0, "reference_us": 300.0, "compiled_us": 150.0, "vllm_us": 500.0}
        base |= {"empty_us": 97.0, "floor_us": 90.0}
        case = {"pooling": pooling, "batch": batch, "length": 8, "width": 384, "lengths": "equal"}
        return case | {"mb": mb} | base | times

    verdicts = targets.judge([row("mean", 64, 300.0), row("mean", 64, 70.0, floor_us=50.0), row("last", 8, 1.0)])
    assert [(v.cases, v.held) for v in verdicts] == [(1, 1), (2, 1), (1, 1), (2, 2), (1, 1), (3, 3), (3, 3)]
    assert verdicts[1].worst == "0.50"
    assert targets.judge([row("last", 8, 1.0, fused_us=102.0)])[2].held == 0
    without = {name: value for name, value in row("mean", 64, 300.0).items() if name != "compiled_us"}
    assert targets.judge([without])[6].cases == 0


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # vLLM and torch warn of themselves on import
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_the_chain_pools_as_vllms_own_classes(pooling: Pooling) -> None:
    import numpy as np
    from vllm import PoolingParams
    from vllm.model_executor.layers.pooler.seqwise.methods import get_seq_pooling_method
    from vllm.v1.pool.metadata import PoolingMetadata, PoolingStates

    inputs = build(Case(5, 7, 64, pooling), CPU)
    metadata = PoolingMetadata(inputs.lengths, None, None, [PoolingParams(task="classify")] * 5, [PoolingStates()] * 5)
    metadata.build_pooling_cursor(np.full(5, 7), inputs.lengths, CPU)
    own = get_seq_pooling_method({"mean": "MEAN", "first": "CLS", "last": "LAST"}[pooling])(inputs.hidden, metadata)
    pool = {"mean": contenders.mean_pool, "first": contenders.first_pool, "last": contenders.last_pool}[pooling]
    assert torch.equal(pool(inputs), own)


@reads
@pytest.mark.parametrize("third", [(), (2,)], ids=["two heads", "three heads"])
def test_compiled_for_a_gpu_it_spills_nothing_and_reads_in_wide_pieces(third: tuple[int, ...]) -> None:
    """Triton's compiler needs no GPU. In a process of its own, because in this one kernels are interpreted."""
    script = f"""
import json
from benchmarks.kernels.compiled import GROUPS, compile_for, variants
chosen = [v for v in variants() if v.dtype == "bf16" and v.aligned]
print(json.dumps([compile_for(variant, 90, (*GROUPS, *{third})) for variant in chosen]))
"""
    without = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=without, check=True)
    rows = json.loads(done.stdout)
    assert len(rows) == 5
    for row in rows:
        assert row["spills"] == row["stack_bytes"] == 0
        assert row["loads_16_byte"] > 0
        assert row["tensor_core"] > 0


@reads
def test_a_launch_takes_what_was_compiled_ahead(tmp_path: Path) -> None:
    """A launch for the same GPU adds nothing to Triton's cache. None is here, so it ends where its code is loaded."""
    script = f"""
import sys, torch, triton
from pathlib import Path
from triton.backends.compiler import GPUTarget
from benchmarks.kernels.cases import Case, build
from benchmarks.kernels.compiled import GROUPS, Variant, compile_for
from psychechat_kernels.fused_heads import Tuning, kernel

cache = Path({str(tmp_path)!r})
triton.knobs.cache.dir = str(cache)
def compiled():
    return len(list(cache.rglob("*.cubin")))

class Driver:
    get_current_target = staticmethod(lambda: GPUTarget("cuda", 90, 32))
    get_current_device = staticmethod(lambda: 0)
    get_current_stream = staticmethod(lambda device: 0)

triton.runtime.driver.set_active(Driver())
kernel.processors = lambda device: 132
found = []
for tuning in (Tuning(), Tuning(step=4, stages=2)):  # the second has a pipeline, which spills nothing either
    assert compile_for(Variant("mean", 8, "bf16"), 90, GROUPS, tuning)["spills"] == 0
    found.append(compiled())
    inputs = build(Case(40, 100, 64, "mean"), torch.device("cpu"))
    workspace = torch.zeros(kernel.workspace_words(sum(GROUPS)), dtype=torch.int32)
    try:
        kernel.launch(*inputs[:5], GROUPS, "mean", 100, torch.empty(40, 37), workspace, tuning)
    except Exception as error:
        print(type(error).__name__, error, file=sys.stderr)
    found.append(compiled())
print(found)
"""
    without = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=without, check=True)
    assert json.loads(done.stdout) == [1, 1, 2, 2], done.stderr
