"""Periodic background work, in a thread of its own."""

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Periodic:
    """Thread that runs `work` at once and then every `seconds` until closed. Errors are logged, and it goes on."""

    def __init__(self, work: Callable[[], None], seconds: float, name: str) -> None:
        self._work, self._seconds, self._name = work, seconds, name
        self._closing = threading.Event()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def close(self) -> None:
        self._closing.set()

    def _run(self) -> None:
        while True:
            try:
                self._work()
            except Exception as error:
                logger.error("%s: %s; tried again in %s s", self._name, type(error).__name__, self._seconds)
            if self._closing.wait(self._seconds):
                return
