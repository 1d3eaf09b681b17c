"""Runs once more, with the machine to itself, what failed beside another worker: a stall is no fault of ours.

Only tests that wait for other processes, and few of them: whatever else fails has failed.
"""

import pytest

MARKS = ("engine", "e2e", "clock")
MOST = 3
"""More at once are no stall."""


class Alone:
    """A plugin of pytest's, beside `--last-failed`."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Raises `pytest.UsageError` for a test that waits for nobody, and for more than `MOST`."""
        alone = [item for item in session.items if not any(item.get_closest_marker(mark) for mark in MARKS)]
        if alone:
            raise pytest.UsageError(f"Not asked again, since it waits for no other process: {alone[0].nodeid}")
        if len(session.items) > MOST:
            raise pytest.UsageError(f"Not asked again: {len(session.items)} failed, which is no stall.")
