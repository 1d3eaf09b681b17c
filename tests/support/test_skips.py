"""A run fails for a skip that nobody expects, and says for which; in one process, and in pytest-xdist's workers."""

import subprocess
from pathlib import Path

import pytest

from tests.support.skips import UNEXPECTED
from tests.support.test_lanes import PYTEST, apart

TESTS = """
import pytest

def test_passes():
    pass

@pytest.mark.skipif(True, reason="needs a moon")
@pytest.mark.parametrize("of", ["Earth", "Mars"])
def test_a_moon(of):
    pass

@pytest.mark.xfail(reason="known")
def test_known():
    assert False
"""


@pytest.mark.parametrize(
    ("expected", "named", "workers"),
    [
        ("# nothing\n\ntest_it.py::test_a_m*  # not today\ntest_of_another.py::*", set(), 0),
        ("test_it.py::test_a_moon[Earth]  # it has one", {"Mars"}, 1),
    ],
    ids=["all are", "one is"],
)
def test_a_skip_that_is_not_expected_fails_the_run(
    expected: str, named: set[str], workers: int, tmp_path: Path
) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\nlanes.TESTS = Path(__file__).parent")
    (tmp_path / "expected").write_text(expected)
    done = subprocess.run(
        [*PYTEST, "-q", f"-n{workers}", "--expected-skips=expected"],
        cwd=tmp_path,
        env=apart(),
        capture_output=True,
        text=True,
    )
    assert "1 passed, 2 skipped, 1 xfailed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == (UNEXPECTED if named else 0)
    assert {of for of in ("Earth", "Mars") if f"test_it.py::test_a_moon[{of}]: needs a moon" in done.stdout} == named
    assert ("ALLOW_SKIPS=1" in done.stdout) == bool(named)
