"""Fails a run for a skip that nobody expects: a test that is skipped everywhere is a test that nobody runs."""

import re
from pathlib import Path

import pytest

UNEXPECTED = 8
"""A run's exit status, whatever else failed: none of pytest's own."""


class ExpectedSkips:
    """A plugin of pytest's. Each line of the file is the id of a test, with `*` for anything, `#` and why."""

    def __init__(self, file: Path) -> None:
        lines = [line.partition("#")[0].strip() for line in file.read_text("utf-8").splitlines()]
        self._file = file
        self._expected = re.compile("|".join(re.escape(line).replace(r"\*", ".*") for line in lines if line))
        self.unexpected: dict[str, str] = {}
        """Why, by test."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._see(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._see(report)

    def _see(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail") and not self._expected.fullmatch(report.nodeid):
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.unexpected[report.nodeid] = why.removeprefix("Skipped: ")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unexpected:
            session.exitstatus = UNEXPECTED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.unexpected:
            return
        terminalreporter.section("skips that nobody expects", red=True)
        for test, why in self.unexpected.items():
            terminalreporter.line(f"{test}: {why}")
        terminalreporter.line(
            f"Provide what they miss; or, if a machine may well lack it, name them in {self._file.name}; or set "
            "ALLOW_SKIPS=1 for this once."
        )
