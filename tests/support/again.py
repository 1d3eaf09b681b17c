"""Which files of tests run once more, with the machine to themselves.

Two workers share two cores, and a stall of half a minute makes a test that waits for other processes fail.

Only where nothing else is wrong: every test has ended, few failed, and all of those look at servers or at the clock.
"""

from pathlib import Path

import pytest

AGAIN = 9
"""A run's exit status, none of pytest's own: the files run once more, and decide."""
MARKS = ("e2e", "clock")
MOST = 3
"""Failed tests. More at once are no stall."""


class Again:
    """A plugin of pytest's, for the process that sees all reports. The file gets the paths, a line each."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._ended: set[str] = set()
        self._failed: dict[str, bool] = {}
        """Whether it may have been a stall, by test."""
        file.unlink(missing_ok=True)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            self._ended.add(report.nodeid)
        if report.failed:  # a worker's crash has no keywords
            self._failed[report.nodeid] = any(mark in report.keywords for mark in MARKS)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._failed[report.nodeid] = False

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        whole = len(self._ended) == session.testscollected
        few = 0 < len(self._failed) <= MOST and all(self._failed.values())
        if session.exitstatus == pytest.ExitCode.TESTS_FAILED and whole and few:
            files = dict.fromkeys(test.partition("::")[0] for test in self._failed)
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text("".join(f"{file}\n" for file in files), "utf-8")
            session.exitstatus = AGAIN

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._file.exists():
            terminalreporter.section("once more, alone", yellow=True)
            terminalreporter.line(f"Servers or the clock are in all that failed. Its files are in {self._file}.")
