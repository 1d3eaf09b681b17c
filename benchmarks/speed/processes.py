"""A server's processes: what they use, and holding them still while another server is measured."""

import signal
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Tree:
    """A process and all that it started."""

    pid: int

    def processes(self) -> list[psutil.Process]:
        try:
            root = psutil.Process(self.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def cpu_seconds(self) -> float:
        """User and system time so far, that of children which have ended included."""
        spent = 0.0
        for process in self.processes():
            try:
                spent += sum(process.cpu_times()[:4])
            except psutil.NoSuchProcess:
                continue
        return spent

    def memory_mb(self) -> float:
        """Proportional set size: a page that several share is counted once."""
        held = 0
        for process in self.processes():
            try:
                held += process.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return held / 2**20

    def pause(self) -> None:
        """A server that waits still takes some of the cores: Ray's heartbeats, vLLM's polling."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        for process in self.processes():
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue
