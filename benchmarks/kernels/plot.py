"""Time over size, one panel a pooling."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

CONTENDERS = {"fused": "fused heads", "reference": "eager", "compiled": "torch.compile", "vllm": "vLLM's chain"}


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    poolings = sorted({row["pooling"] for row in rows}, reverse=True)
    figure, panels = pyplot.subplots(1, len(poolings), figsize=(6 * len(poolings), 4.5), sharey=True, squeeze=False)
    for panel, pooling in zip(panels[0], poolings, strict=True):
        part = sorted((row for row in rows if row["pooling"] == pooling), key=lambda row: row["mb"])
        sizes = [row["mb"] for row in part]
        for name, label in CONTENDERS.items():
            if f"{name}_us" not in rows[0]:
                continue
            panel.plot(sizes, [row[f"{name}_us"] for row in part], ".", label=label)
        panel.plot(sizes, [max(row["floor_us"], row["empty_us"]) for row in part], "k-", lw=0.8, label="floor")
        panel.set(xscale="log", yscale="log", title=f"{pooling} pooling", xlabel="bytes moved at least (MB)")
    panels[0][0].set_ylabel("median time (µs), from a graph")
    panels[0][0].legend()
    figure.suptitle(f"{rows[0]['gpu']}, torch {rows[0]['torch']}, Triton {rows[0]['triton']}")
    figure.savefig(path, bbox_inches="tight")
    pyplot.close(figure)
