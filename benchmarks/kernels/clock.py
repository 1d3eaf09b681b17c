"""Time on a GPU without what a caller's Python costs: work captured in graphs, between events, medians of 20 to 100.

Before each timed replay more memory is read than the caches hold, so that nothing is found there; it is only read,
because lines that were written would be flushed in the middle of the measurement.
"""

import statistics
import time
from collections.abc import Callable
from typing import Protocol

import torch
import triton

REPEATS, WARMUPS = 100, 5
LEAST, MOST_SECONDS = 20, 0.5
"""Of repeats, and how long they may take together beyond these."""
_COPY_BYTES = 2 * 2**30


class Clock(Protocol):
    def graph(self, work: Callable[[], object]) -> float:
        """Median microseconds of the work, replayed from a graph of its own."""

    def eager(self, work: Callable[[], object]) -> float:
        """Median microseconds from the first launch to the end of the last kernel, launched from Python."""

    def empty(self, programs: int) -> float:
        """Median microseconds of a kernel that does nothing, with this many programs, replayed from a graph."""

    def copy_bandwidth(self) -> float:
        """Bytes a second, read and written, of a large copy within the device."""


class GpuClock:
    def __init__(self, device: torch.device) -> None:
        l2_bytes = torch.cuda.get_device_properties(device).L2_cache_size
        self._swept = torch.ones(4 * l2_bytes // 4, device=device)
        self._device = device

    def graph(self, work: Callable[[], object]) -> float:
        side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):  # as CUDA wants it before a capture
            for _ in range(2):
                work()
        torch.cuda.current_stream(self._device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return self._median(graph.replay)

    def eager(self, work: Callable[[], object]) -> float:
        return self._median(work)

    def empty(self, programs: int) -> float:
        return self.graph(lambda: _nothing[(programs,)](num_warps=4))

    def copy_bandwidth(self) -> float:
        source = torch.ones(_COPY_BYTES, dtype=torch.uint8, device=self._device)
        target = torch.empty_like(source)
        return 2 * _COPY_BYTES / (self.graph(lambda: target.copy_(source)) * 1e-6)

    def _median(self, work: Callable[[], object]) -> float:
        times: list[float] = []
        until = time.perf_counter() + MOST_SECONDS
        while len(times) < WARMUPS + LEAST or (len(times) < WARMUPS + REPEATS and time.perf_counter() < until):
            self._swept.sum()
            begin = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            begin.record()
            work()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end) * 1e3)
        return statistics.median(times[WARMUPS:])


class WallClock:
    """For a rehearsal on a CPU: runs everything once, and its times mean nothing."""

    def graph(self, work: Callable[[], object]) -> float:
        return self.eager(work)

    def eager(self, work: Callable[[], object]) -> float:
        begin = time.perf_counter()
        work()
        return (time.perf_counter() - begin) * 1e6

    def empty(self, programs: int) -> float:
        return self.eager(lambda: _nothing[(programs,)](num_warps=4))

    def copy_bandwidth(self) -> float:
        return 1e9


@triton.jit  # type: ignore[untyped-decorator]
def _nothing() -> None:
    pass
