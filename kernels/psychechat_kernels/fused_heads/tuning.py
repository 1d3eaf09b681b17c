"""Tuning of the kernel: how a launch is compiled and cut. It moves time, and results by no more than rounding does."""

from typing import NamedTuple


class Tuning(NamedTuple):
    """The defaults are what is launched unless a caller says otherwise."""

    warps: int = 4
    """Of a program, each 32 threads: a power of two."""
    registers: int | None = None
    """The most that a thread may have; None leaves it to the compiler. With fewer, more programs fit a multiprocessor,
    until values spill."""
    block: int = 64
    """Hidden columns that a program holds at a time: a power of two, at least 16."""
    step: int | None = None
    """Tokens that a row reads at once with mean pooling: a power of two. None: 16 bytes of each hidden column's."""
    stages: int | None = None
    """Of a software pipeline over the tokens, by way of shared memory: 2 or more. None: loads wait for no other load of
    their step, and for the sums of the step before."""
    waves: int = 4
    """Programs for each multiprocessor that the cuts aim at: enough loads in flight to hide the memory's latency."""


DEFAULT = Tuning()
