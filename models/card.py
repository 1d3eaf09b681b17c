"""The card that ships beside the heads, filled in from the figures of the run that made them."""

from pathlib import Path
from typing import Any

_TEMPLATE = Path(__file__).with_name("heads-card.md.in")


def render(report: dict[str, Any]) -> str:
    """The card as Markdown, from the report of `models.train_heads`."""
    risk, emotion = report["dev"]["risk"], report["dev"]["emotion"]
    return _TEMPLATE.read_text().format(
        prefix=report["prefix"],
        train=report["texts"]["train"],
        command=report["command"],
        emotion_threshold=report["thresholds"]["emotion"],
        risk_thresholds=", ".join(f"{name} {value}" for name, value in report["thresholds"]["risk"].items()),
        risk="\n".join(
            f"| {name} | {s['texts']} | {s['macro_f1_argmax']:.2f} | {s['macro_f1_thresholds']:.2f} | "
            f"{_shown(s, 'recall_ideation_or_worse')} | {_shown(s, 'precision_ideation_or_worse')} | "
            f"{_shown(s, 'false_alarm_rate')} |"
            for name, s in risk.items()
        ),
        emotion="\n".join(
            f"| {name} | {s['macro_f1']:.2f} | {_shown(s, 'level_accuracy')} |" for name, s in emotion.items()
        ),
    )


def _shown(scores: dict[str, float], name: str) -> str:
    return f"{scores[name]:.2f}" if name in scores else ""
