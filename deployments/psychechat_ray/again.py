"""Work beside the turns, in a thread of its own."""

import threading
from collections.abc import Callable


class Again:
    """Does its work at once and then every so many seconds, until it is closed. What the work raises ends it."""

    def __init__(self, work: Callable[[], None], seconds: float, name: str) -> None:
        self._work, self._seconds = work, seconds
        self._closing = threading.Event()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def close(self) -> None:
        self._closing.set()

    def _run(self) -> None:
        while True:
            self._work()
            if self._closing.wait(self._seconds):
                return
