"""Priority: an engine with its workers, and no error that an engine would not start for."""

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from typing import Any

import psutil
import pytest

from psychechat.engines.vllm.cpu import niceness

_SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def _engine() -> None:
    """Starts a worker, as vLLM's engine does with several."""
    subprocess.run(_SLEEP)


@pytest.fixture
def engine() -> Iterator[BaseProcess]:
    started = multiprocessing.get_context("spawn").Process(target=_engine)
    started.start()
    assert started.pid is not None
    family = psutil.Process(started.pid)
    while not family.children():
        time.sleep(0.01)
    yield started
    for process in (*family.children(), family):
        process.kill()
    started.join()


def test_an_engines_worker_has_its_priority_lowered_too(engine: BaseProcess) -> None:
    niceness.lower_priority()
    assert engine.pid is not None
    [worker] = psutil.Process(engine.pid).children()
    assert os.getpriority(os.PRIO_PROCESS, engine.pid) == os.getpriority(os.PRIO_PROCESS, worker.pid) == 19
    assert os.getpriority(os.PRIO_PROCESS, 0) < 19


@pytest.mark.parametrize("error", [PermissionError(), psutil.AccessDenied(), FileNotFoundError()])
def test_an_engine_whose_priority_cannot_be_lowered_runs_all_the_same(
    engine: BaseProcess, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise error

    monkeypatch.setattr(os, "setpriority", refuse)
    niceness.lower_priority()
    assert engine.is_alive()
