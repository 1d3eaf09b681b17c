"""Memory of each process over time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.soak import SPIKE

NAMED_MB = 100.0
"""Smaller ones, and those that come and go, are one line together."""
REST = "the rest"


def series(samples: Sequence[tuple[float, Mapping[str, float]]]) -> dict[str, list[float]]:
    """MB at each sample, by process: of each large one that was there in every sample, and of the rest together."""
    always = set.intersection(*(set(found) for _, found in samples))
    large = sorted(name for name in always if max(found[name] for _, found in samples) >= NAMED_MB)
    lines = {name: [found[name] for _, found in samples] for name in large}
    return lines | {REST: [sum(mb for name, mb in found.items() if name not in large) for _, found in samples]}


def draw(samples: Sequence[tuple[float, Mapping[str, float]]], seconds: float, path: Path) -> None:
    """`seconds`: of the run, whose spike is shaded."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    minutes = [at / 60 for at, _ in samples]
    figure, axis = pyplot.subplots(figsize=(9, 4.5))
    axis.axvspan(*(seconds / 60 * at for at in SPIKE), color="0.92", label="four times the seekers")
    for name, sizes in series(samples).items():
        axis.plot(minutes, sizes, lw=1.2, label=f"{label(name)}, {sizes[-1]:,.0f} MB")
    axis.set(xlabel="minutes", ylabel="MB resident")
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.savefig(path, bbox_inches="tight", dpi=110)
    pyplot.close(figure)


def label(process: str) -> str:
    """Title without its number and without what all replicas' begin with."""
    if process == REST:
        return REST
    return process.rpartition(" ")[0].removeprefix("ray::").removeprefix("ServeReplica:")
