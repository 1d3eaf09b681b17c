"""Measure the demo classifier: `python -m models.evaluate`.

Runs the model folder that the server loads over the dev parts, with the thresholds of the server's policy, and a TF-IDF
baseline over the same texts. Writes `models/results/classifier.json`, a reliability plot beside it, and the card of the
heads. What ships is not chosen here. Its calibration and thresholds were chosen on these same dev texts, so the report
also has `crossed`: chosen anew on one half of dev, measured on the other, and the other way round.
"""

import json
import platform
import time
from importlib.metadata import version
from itertools import permutations
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from tokenizers import Tokenizer

from models import baselines, hand_written
from models.calibration import EMOTION_SETS, calibrated, draft_scores, halves, thresholds
from models.calibration import RISK_SETS as CHOSEN_ON
from models.card import CARD, render
from models.data import MASKED, WEAK, DataMissing, Example, load
from models.embeddings import MAX_LEN, backbone, vectors_of
from models.heads import Heads
from models.plot import reliability_plot
from models.predictions import Predictions, load_heads, predict_read
from models.readings import Vectors, read
from models.scores import (
    Presence,
    calibration_error,
    choose_emotion_threshold,
    choose_emotion_thresholds,
    choose_risk_thresholds,
    emotion_scores,
    macro_f1_interval,
    risk_scores,
)
from models.train_classifier import LATER, PREFIX, RUNS
from psychechat.demo.encoder import prepare
from psychechat.demo.thresholds import HURTING_AT
from psychechat.engines.vllm.windows import Windows
from psychechat.policy import Policy
from psychechat.risk import CRISIS

RESULTS = Path(__file__).with_name("results")
RISK_SETS = (
    *(*CHOSEN_ON, "messages/en", "messages/zh", "labelled/en", "labelled/zh", "composed/en", "composed/zh"),
    *("own/en", "own/zh", "counsel_chat", "smilechat"),
)
DRAFT_SETS = ("drafts/en", "drafts/zh", "dialogue_safety")
LANGUAGES = {
    "en": (
        *("goemotions", "xed/en", "brighter/en", "messages/en", "exchanges/en"),
        *("own/en", "lines/en", "counsel_chat"),
    ),
    "zh": (
        *("xed/zh", "brighter/zh", "messages/zh", "psychechat", "psysuicide", "smilechat"),
        *("own/zh", "lines/zh", "bank/zh"),
    ),
}


def main(
    seed: Annotated[int, typer.Option(help="The one of training: it decides the sample of the sets.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
) -> None:
    console = Console(stderr=True)
    torch.set_num_threads(threads)
    try:
        examples = load(seed)
    except DataMissing as missing:
        console.print(str(missing))
        raise typer.Exit(1) from None
    policy = Policy()
    folder = prepare(RUNS / "encoder", console=console)
    dev = [example for example in examples if example.split == "dev" and not example.draft]
    drafts = [example for example in examples if example.split == "dev" and example.draft]
    vectors = read(folder, dev)
    heads = load_heads(folder / "model.safetensors")
    found = predict_read(heads, vectors, dev)
    with console.status("Baselines"):
        train = [example for example in examples if example.split == "train"]
        floors = {"emotion": emotion_floors(train, found), "risk": risk_floors(train, found)}
    report = rounded(
        {
            "command": f"python -m models.evaluate --seed {seed} --threads {threads}",
            "machine": machine(),
            "prefix": PREFIX,
            "thresholds": {
                "emotion": policy.emotion_thresholds.model_dump(),
                "risk": policy.risk.model_dump(),
                "hurting": HURTING_AT,
            },
            "train_texts": sum(example.source not in LATER for example in train),
            "emotion": emotion_by_set(found, policy.emotion_thresholds.by_group),
            "risk": risk_by_set(found, policy),
            "lines": by_kind(found, policy),
            "drafts": drafts_by_set(heads, read(folder, drafts), drafts, HURTING_AT),
            "language": by_language(found, policy),
            "calibration_error": calibration(found),
            "crossed": crossed(heads, vectors, dev, seed),
            "tfidf_baseline": floors,
            "hand_written": hand_written.counts(folder, policy),
            "tokens_per_core_second": speed(folder, dev, policy.risk.ideation),
        }
    )
    typer.echo(json.dumps(report, indent=1))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "classifier.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    presence, there = presences(found)
    risky = found.with_risk()
    reliability_plot(
        {
            "emotion: the group is present": (presence, there),
            "risk: ideation or worse": (risky.risk[:, CRISIS:].sum(1), risky.targets.risk >= CRISIS),
        },
        RESULTS / "classifier-reliability.svg",
    )
    CARD.write_text(render(report))


def emotion_by_set(found: Predictions, threshold: Presence) -> dict[str, Any]:
    """Every set, also at its own best threshold; GoEmotions again without the groups that its labels only suggest."""
    scores: dict[str, dict[str, Any]] = {}
    for source in (*EMOTION_SETS, "xed/zh", "own/en", "own/zh"):
        part = found.of(source)
        scores[source] = {"texts": len(part.examples), **emotion_scores(part.emotion, part.targets.emotion, threshold)}
        scores[source]["macro_f1_interval"] = macro_f1_interval(part.emotion, part.targets.emotion, threshold)
        best = choose_emotion_thresholds([(part.emotion, part.targets.emotion)])
        scores[source]["macro_f1_best_threshold"] = emotion_scores(part.emotion, part.targets.emotion, best)["macro_f1"]
    part = found.of("goemotions")
    strong = torch.where(part.targets.emotion == WEAK, MASKED, part.targets.emotion)
    scores["goemotions, named groups only"] = emotion_scores(part.emotion, strong, threshold)
    return scores


def risk_by_set(found: Predictions, policy: Policy) -> dict[str, Any]:
    """Every set; PsySUICIDE also by where its texts come from, which its labels go with: see the set's README."""
    parts = {source: found.of(source).with_risk() for source in RISK_SETS}
    suicide = [i for i, example in enumerate(found.examples) if example.source == "psysuicide"]
    for place in sorted({tag for i in suicide for tag in found.examples[i].tags}):
        rows = [i for i in suicide if place in found.examples[i].tags]
        parts[f"psysuicide, {place}"] = found.where(rows)
    return {name: risk_scores(p.risk, p.targets.risk, policy.risk.by_severity) for name, p in parts.items()}


def by_kind(found: Predictions, policy: Policy) -> dict[str, Any]:
    """Of the lines that were written to be told apart, by language and kind."""
    scores: dict[str, Any] = {}
    for language in ("en", "zh"):
        part = found.of(f"lines/{language}")
        for kind in sorted({tag for example in part.examples for tag in example.tags}):
            rows = [i for i, example in enumerate(part.examples) if kind in example.tags]
            here = part.where(rows)
            crisis = here.targets.risk >= CRISIS
            called = here.risk[:, CRISIS:].sum(1) >= policy.risk.ideation
            scores[f"{kind}, {language}"] = {
                "texts": len(rows),
                "crises": int(crisis.sum()),
                "missed": int((crisis & ~called).sum()),
                "false_alarms": int((~crisis & called).sum()),
            }
    return scores


def drafts_by_set(heads: Heads, vectors: Vectors, drafts: list[Example], threshold: float) -> dict[str, Any]:
    """Kind and hurting drafts of each set, and how many of either are refused."""
    parts = {source: [i for i, example in enumerate(drafts) if example.source == source] for source in DRAFT_SETS}
    return {
        source: draft_scores(heads, vectors.of(rows), [drafts[i] for i in rows], threshold)
        for source, rows in parts.items()
        if rows
    }


def by_language(found: Predictions, policy: Policy) -> dict[str, Any]:
    scores = {}
    for language, sources in LANGUAGES.items():
        part = found.of(*sources)
        risky = part.with_risk()
        scores[language] = {
            "emotion": emotion_scores(part.emotion, part.targets.emotion, policy.emotion_thresholds.by_group),
            "risk": risk_scores(risky.risk, risky.targets.risk, policy.risk.by_severity),
        }
    return scores


def calibration(found: Predictions) -> dict[str, float]:
    """Per head, over all dev texts that it has labels for."""
    risky = found.with_risk()
    best = risky.risk.max(1)
    return {
        "emotion": calibration_error(*presences(found)),
        "risk": calibration_error(best.values, best.indices == risky.targets.risk),
        "ideation_or_worse": calibration_error(risky.risk[:, CRISIS:].sum(1), risky.targets.risk >= CRISIS),
    }


def crossed(heads: Heads, vectors: Vectors, dev: list[Example], seed: int) -> dict[str, Any]:
    """The figures without flattery: the mean over both halves of dev, each under what the other one would choose."""
    reports = []
    for rows in permutations(halves(dev, seed)):
        chooser, measured = ([dev[i] for i in half] for half in rows)
        here = calibrated(heads, vectors.of(rows[0]), chooser)
        emotion_threshold, risk_thresholds = thresholds(predict_read(here, vectors.of(rows[0]), chooser))
        found = predict_read(here, vectors.of(rows[1]), measured)
        parts = {source: found.of(source) for source in (*EMOTION_SETS, *CHOSEN_ON)}
        report = {
            "emotion": {
                s: emotion_scores(parts[s].emotion, parts[s].targets.emotion, emotion_threshold) for s in EMOTION_SETS
            },
            "risk": {s: risk_scores(parts[s].risk, parts[s].targets.risk, risk_thresholds) for s in CHOSEN_ON},
            "calibration_error": calibration(found),
        }
        reports.append(report)
    return mean_of(*reports)


def mean_of(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    return {
        key: mean_of(value, second[key]) if isinstance(value, dict) else (value + second[key]) / 2
        for key, value in first.items()
        if key in second
    }


def presences(found: Predictions) -> tuple[torch.Tensor, torch.Tensor]:
    """Of every annotated (text, group): the probability that the group is present, and whether it is."""
    known = found.targets.emotion != MASKED
    return 1 - found.emotion[..., 0][known], found.targets.emotion[known] > 0


def emotion_floors(train: list[Example], found: Predictions) -> dict[str, Any]:
    floors = {}
    for source in EMOTION_SETS:
        part = found.of(source)
        own = [example for example in train if example.source == source]
        probabilities = baselines.emotion(own, [example.text for example in part.examples])
        threshold = choose_emotion_threshold([(probabilities, part.targets.emotion)])
        floors[source] = emotion_scores(probabilities, part.targets.emotion, threshold)
    return floors


def risk_floors(train: list[Example], found: Predictions) -> dict[str, Any]:
    """One model for PsySUICIDE and our own sentences, with thresholds chosen as ours are."""
    parts = [found.of(source) for source in CHOSEN_ON]
    own = [example for example in train if example.source in CHOSEN_ON]
    risks = [baselines.risk(own, [example.text for example in part.examples]) for part in parts]
    sets = [(r, part.targets.risk) for r, part in zip(risks, parts, strict=True)]
    chosen = choose_risk_thresholds(sets, list(CHOSEN_ON.values()))
    return {
        source: risk_scores(risk, part.targets.risk, chosen)
        for source, risk, part in zip(CHOSEN_ON, risks, parts, strict=True)
    }


def speed(folder: Path, dev: list[Example], threshold: float) -> dict[str, float]:
    """Plain PyTorch on one thread over some 512 dev texts in batches of 32 of like length, padding not counted.

    Per second of processor time, the best of three passes, so that what else the machine does counts less. Also how
    many texts are called a crisis, or not, in bfloat16 as in float32.
    """
    windows = Windows(Tokenizer.from_file(str(folder / "tokenizer.json")), PREFIX, MAX_LEN)
    rows = sorted((windows.cut(example.text)[0] for example in dev[:: len(dev) // 512]), key=len)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    heads = load_heads(folder / "model.safetensors")
    rates: dict[str, float] = {}
    crises = []
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        model = backbone(folder, dtype)
        vectors_of(model, rows[:64], "mean")
        seconds = []
        for _ in range(3):
            start = time.process_time()
            vectors = vectors_of(model, rows, "mean")
            seconds.append(time.process_time() - start)
        rates[name] = round(sum(map(len, rows)) / min(seconds))
        crises.append(heads.logits(vectors)[1].softmax(-1)[:, CRISIS:].sum(1) >= threshold)
    torch.set_num_threads(threads)
    return {**rates, "texts": len(rows), "same_in_bfloat16": int((crises[0] == crises[1]).sum())}


def machine() -> str:
    model = next(
        (line.split(":")[1].strip() for line in _cpu_info() if line.startswith("model name")), platform.processor()
    )
    return f"{model} ({platform.machine()}), Python {platform.python_version()}, torch {version('torch')}"


def _cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return list(map(rounded, value))
    return round(value, 3) if isinstance(value, float) else value


if __name__ == "__main__":
    typer.run(main)
