"""Which runs are followed by a second one: those in which few tests failed, all of them of servers or the clock."""

import subprocess
from pathlib import Path

import pytest

from tests.support.again import AGAIN
from tests.support.skips import UNEXPECTED
from tests.support.test_lanes import PYTEST, apart

FAILS = """
import pytest

@pytest.mark.MARK
@pytest.mark.parametrize("number", range(TIMES))
def test_fails(number):
    assert number < 0
"""
PASSES = "def test_passes():\n    pass\n"
CRASHES = "import os\nimport pytest\n\n@pytest.mark.e2e\ndef test_crashes():\n    os._exit(1)\n"
SKIPS = "import pytest\n\ndef test_skips():\n    pytest.skip('needs a moon')\n"
FAILED = pytest.ExitCode.TESTS_FAILED


def fails(mark: str, times: int) -> str:
    return FAILS.replace("MARK", mark).replace("TIMES", str(times))


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ({"test_a": fails("e2e", 2), "test_b": fails("clock", 1), "test_c": PASSES}, AGAIN),
        ({"test_a": fails("e2e", 4)}, FAILED),
        ({"test_a": fails("engine", 1)}, FAILED),
        ({"test_a": fails("e2e", 1), "test_b": fails("engine", 1)}, FAILED),
        ({"test_a": fails("e2e", 1), "test_b": CRASHES}, FAILED),
        ({"test_a": fails("e2e", 1), "test_b": "import nothing_of_that_name\n"}, FAILED),
        ({"test_a": fails("e2e", 1), "test_b": SKIPS}, UNEXPECTED),
        ({"test_a": PASSES}, pytest.ExitCode.OK),
    ],
    ids=["few", "many", "of an engine", "another too", "a crash", "no import", "a skip", "none"],
)
def test_what_failed_runs_once_more_if_nothing_else_is_wrong(
    files: dict[str, str], status: int, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\nlanes.TESTS = Path(__file__).parent")
    (tmp_path / "none").write_text("# nothing is expected\n")
    (tmp_path / "again").write_text("of an earlier run")
    command = [*PYTEST, "-q", "-n2", "--again=again", "--expected-skips=none", "--max-worker-restart=1"]
    done = subprocess.run(command, cwd=tmp_path, env=apart(), capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    again = (tmp_path / "again").read_text().split() if (tmp_path / "again").exists() else []
    assert sorted(again) == (["test_a.py", "test_b.py"] if status == AGAIN else [])
