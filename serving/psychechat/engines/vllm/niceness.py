"""On a machine without a GPU an engine computes on the cores that all else runs on."""

import multiprocessing
import os
from contextlib import suppress
from pathlib import Path

_LAST = 19


def step_back() -> None:
    """Let everybody else go before the engines that this process has started.

    They take all that is left, and a batch is hardly later for it; HAProxy, the ingress and who asks wait no more for
    the end of a step. By thread, as Linux has it; elsewhere nothing happens.
    """
    for engine in multiprocessing.active_children():
        threads = Path(f"/proc/{engine.pid}/task")
        for thread in threads.iterdir() if threads.is_dir() else ():
            with suppress(ProcessLookupError):  # it has just ended
                os.setpriority(os.PRIO_PROCESS, int(thread.name), _LAST)
