"""The reliability plot: how often what the classifier calls likely is so."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from models.scores import reliability


def reliability_plot(parts: Mapping[str, tuple[Tensor, Tensor]], path: Path) -> None:
    """One panel a part of (probability, truth); dots by bin, their area by how many texts the bin holds."""
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "psychechat"  # the same figures give the same file
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(parts), figsize=(4 * len(parts), 4), squeeze=False)
    for panel, (name, (probability, truth)) in zip(panels[0], parts.items(), strict=True):
        said, was, sizes = zip(*reliability(probability, truth), strict=True)
        panel.plot([0, 1], [0, 1], linewidth=1, linestyle="--", color="grey")
        panel.plot(said, was, linewidth=1, color="tab:blue")
        panel.scatter(said, was, s=[10 + 400 * (size / sum(sizes)) ** 0.5 for size in sizes], alpha=0.5)
        panel.set(title=name, xlabel="probability given", ylabel="share that is so", xlim=(0, 1), ylim=(0, 1))
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
