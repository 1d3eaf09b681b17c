"""GPUs that the replicas ask for, beside those that there are: without enough of them replicas wait for ever."""

import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from math import ceil
from pathlib import Path

from psychechat.config import Replicas

STABLE_SECONDS = 10.0
"""For so long Ray has found the same ones: nothing adds any to a Ray of one machine, but it may find them late."""
_SHARES = 10_000
"""Of a GPU: Ray tells no smaller ones."""


class TooFewGpus(Exception):
    """The message names those that are needed and those that are there, and says what to do."""


class Watch:
    """Whether the replicas that there are at least can have their GPUs. Asked again and again while they start."""

    def __init__(
        self,
        parts: Mapping[str, Replicas],
        present: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`parts` by deployment. `present`: how many GPUs Ray has found by now."""
        self._parts, self._present, self._clock = parts, present, clock
        self._needed = needed_by(parts)
        self._found: float | None = None
        self._since = 0.0
        self._enough = self._needed == 0

    def missing(self) -> str | None:
        """What the start waits for, as a line; None once there is enough.

        Raises TooFewGpus when Ray has found the same for STABLE_SECONDS.
        """
        if self._enough:
            return None
        found, now = self._present(), self._clock()
        if found != self._found:
            self._found, self._since = found, now
        if found >= self._needed:
            self._enough = True
            return None
        if now - self._since >= STABLE_SECONDS:
            raise _too_few(self._parts, found)
        return _lacking(self._parts, found)


def check(parts: Mapping[str, Replicas], found: Callable[[], int]) -> None:
    """Raises TooFewGpus. For before there is a Ray: `found` is asked only where a GPU is needed."""
    if (least := needed_by(parts)) and (there := found()) < least:
        raise _too_few(parts, there)


def on_this_machine(devices: Path = Path("/dev"), smi: str = "nvidia-smi") -> int:
    """GPUs by their device files. Where there are none, those that NVIDIA's program lists: it makes the files, which
    not every machine has from its start on, and WSL has none.
    """
    if files := sum(1 for _ in devices.glob("nvidia[0-9]*")):
        return files
    try:
        listed = subprocess.run([smi, "-L"], capture_output=True, text=True, timeout=30)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def needed_by(parts: Mapping[str, Replicas]) -> int:
    """How many the deployments need at least."""
    return needed(part.num_gpus for part in parts.values() for _ in range(part.least))


def _too_few(parts: Mapping[str, Replicas], found: float) -> TooFewGpus:
    return TooFewGpus(
        f"{_lacking(parts, found)} Does `nvidia-smi -L` list them here? A container sees them with `docker run --gpus "
        "all`. Else lower num_gpus or the number of replicas, or take a configuration without GPUs, such as demo-cpu."
    )


def _lacking(parts: Mapping[str, Replicas], found: float) -> str:
    asking = {name: part for name, part in parts.items() if part.num_gpus}
    each = ", ".join(f"{name}: {part.least} × {part.num_gpus:g}" for name, part in asking.items())
    return f"GPUs: {needed_by(parts)} needed ({each}), {found:g} found."


def needed(asked: Iterable[float]) -> int:
    """How many GPUs have room for what each of these replicas asks for, the largest first.

    Ray gives a replica whole ones or a share of one, and none a share of two: three of 0.6 need three.
    """
    whole, rooms = 0, list[int]()
    for shares in sorted((round(gpus * _SHARES) for gpus in asked if gpus), reverse=True):
        if shares >= _SHARES:
            whole += ceil(shares / _SHARES)
        elif (room := next((n for n, free in enumerate(rooms) if free >= shares), None)) is not None:
            rooms[room] -= shares
        else:
            rooms.append(_SHARES - shares)
    return whole + len(rooms)
