"""Steps as processes: each started with its time, asked to end when it is nearly over, killed when it is."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.gpu.budget import Outcome, Step

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (".", "kernels", "serving", "deployments")
"""Whether or not the package is installed where this runs."""
SKIPPED = 3
"""What a step's process ends with that could not be done."""


class Processes:
    """Starts the steps of one run. `run` is its name; all that they print goes to its log."""

    def __init__(self, run: str, out: Path, *, rehearse: bool) -> None:
        self._run, self._out, self._rehearse = run, out, rehearse

    def start(self, step: Step, seconds: float) -> Outcome:
        """Run it to its end, and not longer than so many seconds."""
        grace = min(step.grace, seconds / 4)
        page = page_of(self._out, self._run, step)
        page.unlink(missing_ok=True)  # of a run that was killed
        command = [sys.executable, "-m", "benchmarks.gpu", "step", self._run, step.name]
        command += ["--seconds", f"{seconds - grace:.1f}", "--out", str(self._out)]
        begun = time.monotonic()
        with (self._out / f"gpu-{self._run}.log").open("ab") as log:
            log.write(f"\n--- {step.name}, {seconds:.0f} s\n".encode())
            log.flush()
            process = subprocess.Popen(
                [*command, *(["--rehearse"] * self._rehearse)],
                cwd=ROOT,
                env=environment(interpreted=self._rehearse and step.interpreted),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                in_time = _wait(process, begun + seconds - grace / 2)
                if not in_time:
                    process.terminate()
                    _wait(process, begun + seconds)
            finally:
                kill(process)
        facts = json.loads(page.read_text("utf-8")) if page.is_file() else {}
        page.unlink(missing_ok=True)
        why = facts.pop("why", "")
        if process.returncode == SKIPPED:
            return Outcome("skipped", why, facts)
        if not in_time:
            return Outcome("cut", f"it was not over after {seconds:.0f} s", facts)
        if process.returncode:
            return Outcome("failed", why or f"it ended with {process.returncode}", facts)
        return Outcome("done", "", facts)


def page_of(out: Path, run: str, step: Step) -> Path:
    return out / f".gpu-{run}-{step.name}.json"


def environment(*, interpreted: bool) -> dict[str, str]:
    """Of a process that imports what lies here, and in which Triton interprets kernels or does not."""
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    env["PYTHONPATH"] = os.pathsep.join(
        [*(str(ROOT / source) for source in SOURCES), *filter(None, [env.get("PYTHONPATH")])]
    )
    return env | {"PYTHONUNBUFFERED": "1"} | ({"TRITON_INTERPRET": "1"} if interpreted else {})


def kill(process: subprocess.Popen[bytes]) -> None:
    """It and all that it started, servers with sessions of their own among it."""
    with suppress(ImportError):  # where no server is started there may be no psutil
        from benchmarks.speed.processes import Tree

        for child in Tree(process.pid).processes()[1:]:
            with suppress(Exception):  # it may be gone
                child.kill()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait(process: subprocess.Popen[bytes], until: float) -> bool:
    """Whether it has ended by then."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(max(0.0, until - time.monotonic()))
        return True
    return False
