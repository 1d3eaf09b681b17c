"""The kernel's tests on this machine's GPU: those that need one first, then the others while there is time."""

import re
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

from benchmarks.gpu.job import Job, Skipped
from benchmarks.gpu.processes import ROOT

NEED_GPU = "large_inputs or bit_identical or streams or cuda_graph"
REHEARSED = "no_sequences or int32"
_CONFIG = Path(__file__).with_name("pytest.ini")
_TOLD = re.compile(r"^(\S+::.*?) (PASSED|FAILED|ERROR|SKIPPED)\b")


def run(job: Job) -> None:
    """Counts of each outcome, and the names of what failed. Raises Skipped without pytest or hypothesis."""
    if missing := [name for name in ("pytest", "hypothesis") if find_spec(name) is None]:
        raise Skipped(f"{' and '.join(missing)} missing here; both are small wheels that can be carried")
    for name, chosen in (("rehearsed", REHEARSED),) if job.rehearse else _PASSES:
        if job.left() < 1:
            job.page.put(**{name: "no time was left for them"})
            return
        job.page.put(**{name: _pytest(chosen, job.left())})
    if any(isinstance(found, dict) and found["failed"] for found in job.page.facts.values()):
        raise RuntimeError("tests failed; the log has what they say")


_PASSES = (("need_gpu", NEED_GPU), ("others", f"not ({NEED_GPU})"))


def _pytest(chosen: str, seconds: float) -> dict[str, object]:
    """Without the repository's conftest, which wants more packages than a borrowed machine has."""
    tests = ROOT / "tests" / "kernels"
    command = [sys.executable, "-m", "pytest", "-c", str(_CONFIG), "--rootdir", str(ROOT), "--confcutdir", str(tests)]
    command += ["-p", "no:cacheprovider", "-v", "-k", chosen, str(tests)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        output, _ = process.communicate(timeout=seconds)
        ended = True
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        ended = False
    print(output)
    told = [match for line in output.splitlines() if (match := _TOLD.match(line))]
    counts = Counter(match[2].lower() for match in told)
    failed = [match[1] for match in told if match[2] in ("FAILED", "ERROR")]
    if ended and not told:
        raise RuntimeError("pytest ran nothing; the log has what it says")
    return {"counts": dict(counts), "failed": failed, "ended": ended}
