"""What failed beside another worker is asked once more only where it waits for other processes."""

import subprocess
from pathlib import Path

import pytest

from tests.support.test_lanes import PYTEST, apart

TESTS = """
import pathlib
import pytest

@pytest.mark.MARK
@pytest.mark.parametrize("number", range(TIMES))
def test_that_stalls_once(number):
    stalled = pathlib.Path(f"stalled-{number}")
    before = stalled.exists()
    stalled.touch()
    assert before

def test_that_passes():
    with pathlib.Path("passed").open("a") as passed:
        passed.write("once ")
"""


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PYTEST, "-p", "cacheprovider", "-q", *options], cwd=folder, env=apart(), capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("mark", "times", "said"),
    [
        ("e2e", 2, "2 passed"),
        ("clock", 1, "1 passed"),
        ("reads('.')", 1, "it waits for no other process: test_it.py::test_that_stalls_once[0]"),
        ("e2e", 4, "4 failed, which is no stall"),
    ],
)
def test_what_failed_is_asked_again(mark: str, times: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS.replace("MARK", mark).replace("TIMES", str(times)))
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\nlanes.TESTS = Path(__file__).parent")
    first = run(tmp_path, "-n1", "--long")
    assert (first.returncode, f"{times} failed, 1 passed" in first.stdout) == (pytest.ExitCode.TESTS_FAILED, True)
    again = run(tmp_path, "--alone", "--long")
    assert said in again.stdout + again.stderr, again.stdout + again.stderr
    assert (again.returncode == 0) == ("passed" in said)
    assert (tmp_path / "passed").read_text() == "once "


def test_where_nothing_failed_nothing_is_asked_again(tmp_path: Path) -> None:
    """A run that ended badly for another reason, such as a skip that nobody expects, does not pass thereby."""
    (tmp_path / "test_it.py").write_text("def test_that_passes():\n    pass\n")
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\nlanes.TESTS = Path(__file__).parent")
    assert run(tmp_path, "-n1").returncode == pytest.ExitCode.OK
    assert run(tmp_path, "--alone").returncode == pytest.ExitCode.NO_TESTS_COLLECTED
