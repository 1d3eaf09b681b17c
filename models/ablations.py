"""What was tried to make the demo classifier better or faster: `python -m models.ablations`.

Three questions, each answered on a seeded sample of the sets: do previous messages help, what would a pruned vocabulary
save, what would an encoder of four layers lose. Everything compared is trained and measured alike and in one run, so
the differences tell more than the figures, which lie under those of the whole training. Writes
`models/results/classifier_tried.json`.
"""

import json
import random
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from models.adapter import Upper
from models.calibration import EMOTION_SETS, calibrated, thresholds
from models.data import Example, load, psychechat_turns
from models.embeddings import backbone, embed, vectors_of
from models.evaluate import RESULTS, machine, rounded
from models.heads import Heads, Targets, fit
from models.predictions import Predictions, load_heads, predict
from models.scores import choose_emotion_threshold, emotion_scores, macro_f1_interval, risk_scores
from models.states import States
from models.train_classifier import MAX_LEN, PREFIX, RUNS, Rows, train
from psychechat.demo.encoder import prepare
from psychechat.engines.vllm.windows import Windows
from psychechat.policy import Policy
from psychechat.risk import CRISIS

SAMPLE = {"goemotions": 1500, "xed/en": 1000, "brighter/en": 700, "brighter/zh": 700, "own/en": 1000, "own/zh": 1000}
"""Texts of each set that are learned from, and a third as many to measure on; of PsySUICIDE and PsychēChat all."""
SETS = (*SAMPLE, "psysuicide", "psychechat")
DECAY = 1e-2
DEPTHS = {"twelve layers": range(12), "the first four": range(4), "every third": range(2, 12, 3)}
HISTORY = (0, 1, 2)
"""Messages before the newest one."""


def main(
    seed: Annotated[int, typer.Option(help="Decides the sample, the order and the first weights.")] = 0,
    epochs: Annotated[int, typer.Option(help="Passes over the sample for each adapter.")] = 2,
) -> None:
    console = Console(stderr=True)
    torch.set_num_threads(1)
    examples = list(sampled(load(seed), seed))
    encoder = prepare(RUNS / "encoder", heads=None, console=console)
    report = {
        "command": f"python -m models.ablations --seed {seed} --epochs {epochs}",
        "machine": machine(),
        "history": history(encoder),
        "vocabulary": vocabulary(examples, seed),
        "depth": depth(encoder, examples, seed, epochs, console),
    }
    file = RESULTS / "classifier_tried.json"
    others = json.loads(file.read_text()) if file.exists() else {}  # the third cycle is there too: heads-card.md
    file.write_text(json.dumps(others | rounded(report), indent=1) + "\n")
    typer.echo(json.dumps(rounded(report), indent=1))


def sampled(examples: list[Example], seed: int) -> Iterator[Example]:
    chance = random.Random(seed)
    for source in SETS:
        for split in ("train", "dev"):
            part = [example for example in examples if (example.source, example.split) == (source, split)]
            most = SAMPLE.get(source, len(part)) // (1 if split == "train" or source not in SAMPLE else 3)
            yield from chance.sample(part, min(most, len(part)))


# ---------------------------------------------------------------------------------------------------- history


def history(encoder: Path) -> dict[str, Any]:
    """PsychēChat's conversations, the only ones with labelled turns: each scored by heads that saw the others only.

    Its own layers were never trained on them. Risk has no set of conversations with labelled messages.
    """
    turns = psychechat_turns()
    rest = [example for example in load(0) if example.source == "psychechat"]
    known = {turn.newest.text for turn in turns}
    rest = [example for example in rest if example.text not in known]
    targets = Targets.of([turn.newest for turn in turns])
    report: dict[str, Any] = {"turns": len(turns), "conversations": len({turn.conversation for turn in turns})}
    rows = Windows(Tokenizer.from_file(str(encoder / "tokenizer.json")), PREFIX, 512)
    for before in HISTORY:
        texts = ["\n".join([*turn.before[len(turn.before) - before :], turn.newest.text]) for turn in turns]
        vectors = embedded([*texts, *(example.text for example in rest)], encoder)
        emotion = torch.zeros(len(turns), 8, 4)
        for conversation in {turn.conversation for turn in turns}:
            held = torch.tensor([turn.conversation == conversation for turn in turns])
            seen = [turn.newest for turn, out in zip(turns, held.tolist(), strict=True) if not out] + rest
            heads = fit(vectors[~torch.cat([held, torch.zeros(len(rest), dtype=torch.bool)])], Targets.of(seen), DECAY)
            emotion[held] = heads.logits(vectors[: len(turns)][held])[0].softmax(-1)
        best = choose_emotion_threshold([(emotion, targets.emotion)])
        report[f"{before} messages before the newest"] = {
            "macro_f1": emotion_scores(emotion, targets.emotion, best)["macro_f1"],
            "macro_f1_interval": macro_f1_interval(emotion, targets.emotion, best),
            "tokens": sum(len(rows.cut(text)[0]) for text in texts),
        }
    return report


# ------------------------------------------------------------------------------------------------- vocabulary


def vocabulary(examples: Sequence[Example], seed: int) -> dict[str, Any]:
    """The shipped classifier with only the tokens that any train text holds; what else a dev text holds is unknown."""
    folder = prepare(RUNS / "encoder")
    windows = Windows.of(folder, MAX_LEN)
    learned = (windows.cut(example.text)[0] for example in load(seed) if example.split == "train")
    kept = sorted({0, 1, 2, 3}.union(*learned))
    places = {token: place for place, token in enumerate(kept)}
    dev = [example for example in examples if example.split == "dev"]
    rows = sorted((windows.cut(example.text)[0] for example in dev), key=len)
    unknown = places[3]
    fewer = [[places.get(token, unknown) for token in row] for row in rows]
    whole, pruned = backbone(folder), backbone(folder)
    weight = pruned.get_submodule("embeddings.word_embeddings").get_parameter("weight")
    pruned.set_submodule("embeddings.word_embeddings", nn.Embedding(len(kept), weight.shape[1], _weight=weight[kept]))
    heads, threshold = load_heads(folder / "model.safetensors"), Policy().risk.ideation
    crises = [
        heads.logits(vectors_of(model, ids, "mean"))[1].softmax(-1)[:, CRISIS:].sum(1) >= threshold
        for model, ids in ((whole, rows), (pruned, fewer))
    ]
    rates = speeds({"whole": (whole, rows), "pruned": (pruned, fewer)})
    return {
        "tokens_kept": len(kept),
        "tokens": len(weight),
        "megabytes_fp16": len(weight) * weight.shape[1] * 2 / 1e6,
        "megabytes_fp16_kept": len(kept) * weight.shape[1] * 2 / 1e6,
        "unknown_in_dev": sum(row.count(unknown) for row in fewer) / sum(map(len, fewer)),
        "dev_texts": len(dev),
        "crises_called_otherwise": int((crises[0] != crises[1]).sum()),
        "tokens_per_core_second": rates,
        "times_as_fast": rates["pruned"] / rates["whole"],
    }


# ------------------------------------------------------------------------------------------------------ depth


def depth(encoder: Path, examples: Sequence[Example], seed: int, epochs: int, console: Console) -> dict[str, Any]:
    """Heads and an adapter for as many steps each: on the upper six layers of twelve, on all four of four."""
    learned = [example for example in examples if example.split == "train"]
    dev = [example for example in examples if example.split == "dev"]
    report: dict[str, Any] = {"train_texts": len(learned), "dev_texts": len(dev)}
    windows = Windows(Tokenizer.from_file(str(encoder / "tokenizer.json")), PREFIX, MAX_LEN)
    ids, ids_dev = ([windows.cut(example.text)[0] for example in part] for part in (learned, dev))
    models = {}
    for name, layers in DEPTHS.items():
        folder = encoder if len(layers) == 12 else student(encoder, layers)
        first = 6 if len(layers) == 12 else 0
        states = States(RUNS / f"states-{folder.name}-{first}", folder, first)
        rows, held = Rows(learned, ids, states.of(ids)), states.of(ids_dev)
        torch.manual_seed(seed)
        upper = Upper(folder, first, rank=16)
        upper.standardise(rows.states[::8])
        train(upper, rows, RUNS / f"tried-{folder.name}-{seed}-{epochs}.pt", seed, range(epochs), 1.0, console)
        with torch.inference_mode():
            pooled = torch.cat([upper.pooled(held[i : i + 16]) for i in range(0, len(held), 16)])
        report[name] = figures(upper.linear(), pooled, dev)
        models[name] = (backbone(folder), sorted(ids_dev, key=len))
    rates = speeds(models)
    for name, rate in rates.items():
        report[name] |= {"tokens_per_core_second": rate, "times_as_fast": rate / rates["twelve layers"]}
    return report


def student(encoder: Path, layers: Sequence[int]) -> Path:
    """A folder with some of the encoder's layers, the rest as it is."""
    folder = encoder.with_name(f"{encoder.name}-{'-'.join(map(str, layers))}")
    folder.mkdir(exist_ok=True)
    shutil.copyfile(encoder / "tokenizer.json", folder / "tokenizer.json")
    config = json.loads((encoder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": len(layers)}))
    tensors = {}
    for name, tensor in load_file(encoder / "model.safetensors").items():
        head, found, tail = name.partition("encoder.layer.")
        number, _, rest = tail.partition(".")
        if not found:
            tensors[name] = tensor
        elif int(number) in layers:
            tensors[f"{head}{found}{list(layers).index(int(number))}.{rest}"] = tensor
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def figures(heads: Heads, vectors: Tensor, dev: Sequence[Example]) -> dict[str, float]:
    """Calibrated and with thresholds chosen on the same texts, which flatters all alike."""
    found = predict(calibrated(heads, vectors, dev), vectors, dev)
    emotion, risk = thresholds(found)
    parts = [found.of(source) for source in EMOTION_SETS]
    suicide = found.of("psysuicide")
    scores = risk_scores(suicide.risk, suicide.targets.risk, risk)
    named = ("macro_f1_argmax", "recall_ideation_or_worse", "precision_ideation_or_worse")
    return {
        "emotion_macro_f1": sum(emotion_scores(p.emotion, p.targets.emotion, emotion)["macro_f1"] for p in parts) / 5,
        **{f"psysuicide_{name}": scores[name] for name in named},
        "own_recall": own_recall(found, 0.1),
    }


def own_recall(found: Predictions, alarms: float) -> float:
    """The share of crises among our own dev sentences that is called at a threshold with this share of false alarms."""
    part = found.of("own/en", "own/zh")
    crisis, tail = part.targets.risk >= CRISIS, part.risk[:, CRISIS:].sum(1)
    return float((tail[crisis] > tail[~crisis].quantile(1 - alarms)).float().mean())


def embedded(texts: Sequence[str], encoder: Path) -> Tensor:
    return torch.from_numpy(embed(texts, encoder, PREFIX, "mean", RUNS / "vectors"))


def speeds(models: Mapping[str, tuple[nn.Module, Sequence[Sequence[int]]]], rounds: int = 3) -> dict[str, float]:
    """Tokens a second of processor time on some 256 of the rows, the models by turns, the best of each."""
    best = dict.fromkeys(models, 0.0)
    for _ in range(rounds):
        for name, (model, rows) in models.items():
            some = rows[:: len(rows) // 256]
            start = time.process_time()
            vectors_of(model, some, "mean")
            best[name] = max(best[name], sum(map(len, some)) / (time.process_time() - start))
    return best


if __name__ == "__main__":
    typer.run(main)
