"""The cards that ship beside heads, filled in from the figures of the run that made or measured them."""

from pathlib import Path
from typing import Any

from psychechat.demo.encoder import HEADS

CARD = HEADS.with_name("heads-card.md")
TARGETS = {"goemotions": 0.60, "xed/en": 0.49, "brighter/en": 0.63, "brighter/zh": 0.59, "psychechat": 0.64}
"""The macro-F1 that was hoped for on each set's dev part."""
_TEMPLATE = Path(__file__).with_name("heads-card.md.in")


def render(report: dict[str, Any]) -> str:
    """The demo classifier's card as Markdown, from the report of `models.evaluate`."""
    floor = report["tfidf_baseline"]["risk"]["psysuicide"]
    floors = report["tfidf_baseline"]["emotion"]
    written = report["hand_written"]
    crossed = report["crossed"]
    return _TEMPLATE.read_text().format(
        prefix=report["prefix"],
        train=report["train_texts"],
        command=report["command"],
        machine=report["machine"],
        emotion_threshold=_listed(report["thresholds"]["emotion"]),
        risk_thresholds=_listed(report["thresholds"]["risk"]),
        risk="\n".join(
            f"| {name} | {s['texts']} | {s['macro_f1_argmax']:.2f} | {s['macro_f1_thresholds']:.2f} | "
            f"{s['within_one_level']:.2f} | {s['kappa_quadratic']:.2f} | {_shown(s, 'recall_ideation_or_worse')} | "
            f"{_shown(s, 'precision_ideation_or_worse')} | {_shown(s, 'false_alarm_rate')} |"
            for name, s in report["risk"].items()
        ),
        emotion="\n".join(
            f"| {name} | {s['macro_f1']:.3f} | {_interval(s)} | "
            f"{_shown(crossed['emotion'].get(name, {}), 'macro_f1')} | {_shown(floors.get(name, {}), 'macro_f1')} | "
            f"{s['calibration_error']:.3f} | {_shown(s, 'level_accuracy')} | {_shown(s, 'level_within_one')} |"
            for name, s in report["emotion"].items()
        ),
        missed=_missed(report["emotion"]),
        lines="\n".join(
            f"| {kind} | {c['texts']} | {c['crises']} | {c['missed']} | {c['false_alarms']} |"
            for kind, c in report["lines"].items()
        ),
        hurting_at=report["thresholds"]["hurting"],
        drafts="\n".join(
            f"| {name} | {d['kind']} | {d['kind_refused']} | {d['hurting']} | {d['hurting_refused']} | "
            f"{d['told_apart']:.2f} |"
            for name, d in report["drafts"].items()
        ),
        crossed_recall=crossed["risk"]["psysuicide"]["recall_ideation_or_worse"],
        crossed_precision=crossed["risk"]["psysuicide"]["precision_ideation_or_worse"],
        crossed_f1=crossed["risk"]["psysuicide"]["macro_f1_thresholds"],
        ece_emotion=report["calibration_error"]["emotion"],
        ece_risk=report["calibration_error"]["risk"],
        floor_f1=floor["macro_f1_argmax"],
        floor_recall=floor["recall_ideation_or_worse"],
        floor_precision=floor["precision_ideation_or_worse"],
        sentences=written["all"]["sentences"],
        crises=written["all"]["crises"],
        no_crises=written["all"]["no_crises"],
        missed_classifier=written["all"]["missed_by_classifier"],
        missed_server=written["all"]["missed_by_server"],
        alarms_classifier=written["all"]["false_alarms_by_classifier"],
        alarms_server=written["all"]["false_alarms_by_server"],
        hand_written="\n".join(
            f"| {kind} | {c['sentences']} | {c['crises']} | {c['missed_by_classifier']} | {c['missed_by_server']} | "
            f"{c['no_crises']} | {c['false_alarms_by_classifier']} | {c['false_alarms_by_server']} |"
            for kind, c in written.items()
        ),
    )


def folder_card(encoder: str, pooling: str, prefix: str, train: int, report: dict[str, Any]) -> str:
    """The card of a folder written by `models.train_heads`, from its figures on the dev rows."""
    lines = [
        f"# Emotion and risk heads on {encoder}",
        "",
        "No medical device: it detects and routes. Have it reviewed for your users before it is anybody's care.",
        "",
        f"37 linear columns over the frozen model's {pooling}-pooled last hidden state, each text prefixed with",
        f"`{prefix}`; fitted on {train:,} texts, calibration and thresholds on {report['dev_texts']:,} dev texts.",
    ]
    for head in ("emotion", "risk"):
        if head in report:
            lines += ["", f"| {head}, dev | |", "|---|---|"]
            for name, value in report[head].items():
                shown = _listed(value) if isinstance(value, dict) else f"{value:.3g}"
                lines.append(f"| {name.replace('_', ' ')} | {shown} |")
    return "\n".join(lines) + "\n"


def _listed(thresholds: dict[str, float]) -> str:
    return ", ".join(f"{name} {value}" for name, value in thresholds.items())


def _missed(emotion: dict[str, Any]) -> str:
    short = [(name, target, emotion[name]["macro_f1"]) for name, target in TARGETS.items()]
    return (
        "; ".join(f"{target} on {name} ({found:.3f})" for name, target, found in short if found < target) or "nothing"
    )


def _interval(scores: dict[str, Any]) -> str:
    return "{:.2f} to {:.2f}".format(*scores["macro_f1_interval"]) if "macro_f1_interval" in scores else ""


def _shown(scores: dict[str, float], name: str) -> str:
    return f"{scores[name]:.2f}" if name in scores else ""
