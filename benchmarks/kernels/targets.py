"""What the kernel is meant to reach on an NVIDIA H200, held against measured rows."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Row = dict[str, Any]


class Target(NamedTuple):
    name: str
    applies: Callable[[Row], bool]
    value: Callable[[Row], float]
    bound: float
    at_least: bool

    def holds(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


class Verdict(NamedTuple):
    name: str
    cases: int
    held: int
    worst: str
    where: str


def _share(row: Row) -> float:
    """Of the copy bandwidth, which is what the floor is reckoned from."""
    return float(row["floor_us"] / row["fused_us"])


def _times(other: str) -> Callable[[Row], float]:
    return lambda row: float(row[f"{other}_us"] / row["fused_us"])


def _beside(other: str) -> Callable[[Row], bool]:
    """A machine may lack what torch.compile wants."""
    return lambda row: f"{other}_us" in row


def _over_empty(row: Row) -> float:
    return float(row["fused_us"] - row["empty_us"])


def _mean_from(megabytes: float) -> Callable[[Row], bool]:
    return lambda row: bool(row["pooling"] == "mean" and row["mb"] >= megabytes)


def _latency_bound(row: Row) -> bool:
    """One token of each of a few sequences: what is read takes no time beside the launch."""
    return bool(row["pooling"] != "mean" and row["batch"] <= 8)


TARGETS = (
    Target("mean from 256 MB: share of the copy bandwidth", _mean_from(256), _share, 0.85, at_least=True),
    Target("mean from 64 MB: share of the copy bandwidth", _mean_from(64), _share, 0.60, at_least=True),
    Target("last, batch to 8: µs over an empty kernel", _latency_bound, _over_empty, 4.0, at_least=False),
    Target("mean from 64 MB: times vLLM's chain", _mean_from(64), _times("vllm"), 4.0, at_least=True),
    Target("elsewhere: times vLLM's chain", lambda row: not _mean_from(64)(row), _times("vllm"), 2.0, at_least=True),
    Target("times the eager reference", lambda row: True, _times("reference"), 2.0, at_least=True),
    Target("times torch.compile of it", _beside("compiled"), _times("compiled"), 1.0, at_least=True),
)


def judge(rows: Sequence[Row]) -> list[Verdict]:
    """Of each target: how many cases it is about, how many hold it, and the worst."""
    verdicts = []
    for target in TARGETS:
        name = f"{target.name} {'≥' if target.at_least else '≤'} {target.bound:g}"
        values = [(target.value(row), _name(row)) for row in rows if target.applies(row)]
        if values:
            worst, where = (min if target.at_least else max)(values)
            held = sum(target.holds(value) for value, _ in values)
            verdicts.append(Verdict(name, len(values), held, f"{worst:.2f}", where))
        else:
            verdicts.append(Verdict(name, 0, 0, "", ""))
    return verdicts


def _name(row: Row) -> str:
    return f"{row['pooling']} {row['batch']} × {row['length']} × {row['width']} {row['lengths']}"
