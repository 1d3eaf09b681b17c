"""What a gate saw, as it is kept without a word of anybody, and what is worse than it was then."""

import json
from collections.abc import Collection, Mapping, Sequence
from math import exp, log
from pathlib import Path
from typing import Any, Literal

from psychechat.evaluation.gate.checks import false_alarms, found_at
from psychechat.evaluation.gate.play import Scene
from psychechat.evaluation.gate.scripts import Script
from psychechat.evaluation.intervals import Estimate, difference

Figure = Literal["found_at", "false_alarms", "fallbacks", "held", "seconds", "first_seconds"]

WORSE: Mapping[Figure, tuple[Literal[1, -1], float]] = {
    "found_at": (1, 0.0),
    "false_alarms": (1, 0.0),
    "fallbacks": (1, 0.1),
    "held": (-1, 0.0),
    "seconds": (1, log(2)),
    "first_seconds": (1, log(2)),
}
"""Whether more or less is worse, and by how much it may be; of seconds by how many times, as a logarithm."""
TIMES: Collection[Figure] = ("seconds", "first_seconds")
"""Compared as ratios: a short script that takes twice as long counts as much as a long one."""


class BadBaseline(ValueError):
    """A file that no gate wrote, or that is no measure; the message says why."""


def seen(script: Script, scene: Scene) -> dict[str, float]:
    """Of a script that was played to its end; of another one nothing can be compared."""
    if len(scene) < len(script.say) or any(played.error for played in scene):
        return {}
    calm = [played for played in scene if not played.is_crisis]
    at = found_at(scene) or len(scene) + 1
    figures: dict[str, float] = {
        "fallbacks": sum(played.is_fallback for played in calm) / (len(calm) or 1),
        "seconds": sum(played.reply.seconds for played in scene) / len(scene),
        "first_seconds": sum(played.reply.first_seconds for played in scene) / len(scene),
    }
    if script.crisis_by is not None:
        figures["found_at"] = at
        figures["held"] = sum(played.is_held for played in scene) / len(scene)
    else:
        figures["false_alarms"] = false_alarms(scene)
    return figures


Kept = Mapping[str, Mapping[str, float]]
"""Figures by script."""


def read(file: Path) -> Kept:
    """Raises BadBaseline or OSError."""
    try:
        kept = json.loads(file.read_text("utf-8"))
        broken = len(kept["broken"])
        scripts = {str(name): {key: float(value) for key, value in of.items()} for name, of in kept["scripts"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadBaseline(f"{file} is not what psychechat gate --out writes") from None
    if broken:
        raise BadBaseline(f"{file} is of a gate that failed ({broken} broken): keep one of a gate that passes")
    return scripts


def text(figures: Kept, about: Mapping[str, Any], broken: Sequence[str]) -> str:
    kept = {name: {key: round(value, 4) for key, value in of.items()} for name, of in figures.items()}
    return json.dumps({**about, "broken": list(broken), "scripts": kept}, ensure_ascii=False, indent=1) + "\n"


def worse(ours: Kept, theirs: Kept) -> list[str]:
    """Figures whose whole interval, script by script, is worse than the baseline's by more than they may be; or that
    there was nothing to compare.
    """
    if not any(ours[script] and theirs.get(script) for script in ours):
        return ["no script was played to its end both here and for the baseline, so nothing was compared"]
    worse_figures = []
    for name, (sign, margin) in WORSE.items():
        one = difference(_by_script(ours, name), _by_script(theirs, name))
        if one is not None and (one.low > margin if sign > 0 else one.high < -margin):
            worse_figures.append(_told(name, one))
    return worse_figures


def _by_script(kept: Kept, name: Figure) -> dict[str, list[float]]:
    by_script = {script: figures[name] for script, figures in kept.items() if name in figures}
    return {script: [log(max(figure, 1e-3)) if name in TIMES else figure] for script, figure in by_script.items()}


def _told(name: Figure, one: Estimate) -> str:
    if name in TIMES:
        told = f"{exp(one.mean):.1f} times as long [{exp(one.low):.1f}, {exp(one.high):.1f}]"
    else:
        told = f"{one.mean:+.2f} [{one.low:+.2f}, {one.high:+.2f}]"
    return f"{name} is worse than the baseline's: {told}"
