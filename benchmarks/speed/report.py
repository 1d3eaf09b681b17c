"""Results as files: speed.json, speed.csv and plots, and their tables. What is measured again is replaced."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.provenance import provenance
from benchmarks.speed.measure import as_rows, median
from benchmarks.speed.parts import Found
from benchmarks.speed.targets import Verdict, gains, hits, judge, load_reasons, named, plain_table


def read(folder: Path) -> dict[str, Any]:
    """What was measured before, by part."""
    file = folder / "speed.json"
    parts: dict[str, Any] = json.loads(file.read_text("utf-8"))["parts"] if file.is_file() else {}
    return parts


def merged(parts: Mapping[str, Any], name: str, found: Found, command: str) -> dict[str, Any]:
    """With this part's results in the place of its former ones."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    part = {"when": when, **provenance(command), "rows": as_rows(found.rows), "facts": dict(found.facts)}
    return {**parts, name: part}


def write(folder: Path, parts: Mapping[str, Any]) -> list[Verdict]:
    """All files of the folder."""
    # JSON has no integer keys; what is read back must equal what is judged.
    parts = json.loads(json.dumps(parts))
    verdicts = judge(parts, load_reasons())
    whole = {"targets": [asdict(verdict) for verdict in verdicts], "parts": parts}
    (folder / "speed.json").write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", "utf-8")
    rows = [row for part in parts.values() for row in part["rows"]]
    if rows:
        with (folder / "speed.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    plots(folder, parts)
    return verdicts


def markdown(parts: Mapping[str, Any]) -> str:
    """The targets, why some of them are missed, and the figures themselves."""
    verdicts = judge(parts, load_reasons())
    lines = ["| what | target | measured | |", "| --- | --- | --- | --- |"]
    lines += [_line([v.what, v.target, v.measured or "–", v.verdict]) for v in verdicts]
    if missed := [v for v in verdicts if v.verdict == "missed"]:
        lines += ["", "What is missed, and why:", ""]
        lines += [f"- **{v.what}**, {v.measured}: {v.reason or 'not known yet.'}" for v in missed]
    table = plain_table(parts)
    lines += ["", "The figures themselves, medians of the rounds:", ""]
    lines += [_line(table[0]), _line(["---"] * len(table[0])), *map(_line, table[1:])]
    for told in (gains(parts), hits(parts)):
        lines += ["", told] if told else []
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def plots(folder: Path, parts: Mapping[str, Any]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"figure.dpi": 110, "axes.spines.top": False, "axes.spines.right": False, "font.size": 9})
    if "relay" in parts:
        _relay(plt, folder, [row for row in parts["relay"]["rows"] if row["part"] == "relay"])
    if "anatomy" in parts:
        _anatomy(plt, folder, parts["anatomy"]["facts"])
    if "scale" in parts:
        _scale(plt, folder, parts["scale"]["facts"]["curve"])


def _relay(plt: Any, folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(8, 3))
    levels = sorted({row["at_once"] for row in rows})
    for server in dict.fromkeys(row["server"] for row in rows):
        for axis, name in zip(axes, ("tokens_s", "ttft_p50"), strict=True):
            axis.plot(levels, [median(rows, server, level, name) for level in levels], marker="o", label=named(server))
    for axis, title in zip(axes, ("tokens/s", "TTFT p50, ms"), strict=True):
        axis.set(title=title, xlabel="conversations at once", xscale="log")
        axis.set_xticks(levels, map(str, levels))
        axis.set_ylim(bottom=0)
    axes[0].legend(frameon=False)
    _save(plt, figure, folder / "speed-relay.png")


def _anatomy(plt: Any, folder: Path, facts: Mapping[str, Any]) -> None:
    figure, axis = plt.subplots(figsize=(8, 2.4))
    shades: dict[str, Any] = {}
    for mode, told in facts.items():
        left = 0.0
        for name, ms in sorted(told["ms"].items(), key=lambda item: ORDER.index(item[0]) if item[0] in ORDER else 99):
            shade = shades.setdefault(name, plt.get_cmap("tab20")(len(shades)))
            first = not any(name == text.get_label() for text in axis.patches)
            axis.barh(mode, ms, left=left, color=shade, label=name if first and left >= 0 else None)
            left += ms
    handles, labels = axis.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    axis.legend(once.values(), once.keys(), ncols=5, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.32))
    axis.set(xlabel="ms of one turn, nothing else running")
    _save(plt, figure, folder / "speed-turn.png")


def _scale(plt: Any, folder: Path, curve: Sequence[Mapping[str, Any]]) -> None:
    figure, axis = plt.subplots(figsize=(5, 3))
    for name in ("p50", "p90", "p99"):
        axis.plot([p["streams"] for p in curve], [max(0.1, p["added_ms"][name]) for p in curve], marker="o", label=name)
    axis.axhline(100, color="grey", linewidth=0.8, linestyle="--")
    axis.set(xlabel="streams of 30 tokens/s, one ingress core", ylabel="added ms", yscale="log")
    axis.legend(frameon=False)
    _save(plt, figure, folder / "speed-scale.png")


def _save(plt: Any, figure: Any, file: Path) -> None:
    figure.tight_layout()
    figure.savefig(file)
    plt.close(figure)


ORDER = (
    "http",
    "pipeline",
    "memory",
    "queue",
    "classify",
    "reply: first words",
    "reply: the rest",
    "emotion",
    "draft",
    "simulation",
    "review",
)
