"""Priority of engines among processes: without a GPU they compute on the cores that all else runs on."""

import multiprocessing
import os
from contextlib import suppress
from pathlib import Path

import psutil

_LAST = 19


def lower_priority() -> None:
    """Let everybody else go before the engines that this process has started, and before their workers.

    They take all that is left, and a batch is hardly later for it; HAProxy, the ingress and who asks wait no more for
    the end of a step. By thread, as Linux has it; elsewhere nothing happens. An engine whose priority stays
    as it was runs all the same.
    """
    for engine in multiprocessing.active_children():
        with suppress(OSError, psutil.Error):
            first = psutil.Process(engine.pid)
            for process in (first, *first.children(recursive=True)):
                _lower(process.pid)


def _lower(pid: int) -> None:
    threads = Path(f"/proc/{pid}/task")
    for thread in threads.iterdir() if threads.is_dir() else ():
        with suppress(ProcessLookupError):  # it has just ended
            os.setpriority(os.PRIO_PROCESS, int(thread.name), _LAST)
