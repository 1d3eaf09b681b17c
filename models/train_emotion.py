"""Fit the emotion head anew: `python -m models.train_emotion`, after `train_classifier`.

Its columns over the vectors of the encoder as that left it, which stays as it is, and with it risk and drafts: minutes.
It learns from messages that tell what happened and name no feeling (`models/data/labelled`), beside a part of what the
encoder learned from. They are put in their place in the file of heads, and the policy's thresholds are printed.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.calibration import EMOTION_SETS, calibrated
from models.data import MASKED, DataMissing, Example, load
from models.heads import EMOTION_COLUMNS, Heads, Targets, fit
from models.predictions import load_heads, predict
from models.readings import Vectors
from models.scores import choose_emotion_thresholds
from models.train_asked import opened
from models.train_topics import vectors
from psychechat.demo.encoder import HEADS
from psychechat.emotion import Group

MOST: Mapping[str, int] = {"goemotions": 5_000, "xed/en": 2_500, "brighter/en": 2_000, "brighter/zh": 2_000}
"""Texts of a set that are looked at, of each split; of others all."""
STANDS_FOR: Mapping[str, float] = {"goemotions": 8.0, "xed/en": 4.0}
"""What a text of these samples counts, beside its set's weight: they are small parts of large sets."""
ALSO = ("exchanges/en",)
"""Sets that are learned from, besides those that thresholds are chosen on."""
DECAY = 3e-3
KEPT = 0.3
"""The share that the columns of before keep: with none of them the large sets are told worse, and with half of them the
new messages. So begin with what `train_classifier` wrote: a second run would keep three tenths of the first."""


def main(
    seed: Annotated[int, typer.Option(help="Decides the sample.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    heads: Annotated[Path, typer.Option(help="The file of heads whose first head is replaced.")] = HEADS,
) -> None:
    console, folder = opened(threads, heads)
    try:
        examples = sample(load(seed), seed)
    except DataMissing as missing:
        console.print(str(missing))
        raise typer.Exit(1) from None
    rows = vectors(folder, [example.text for example in examples])
    made = fitted(load_heads(folder / "model.safetensors"), rows, examples)
    replace_first(heads, made)
    console.print("Thresholds for the policy: ", end="")
    console.print(", ".join(f"{group} {at:.2f}" for group, at in thresholds(made, rows, examples).items()))


def sample(examples: Sequence[Example], seed: int) -> list[Example]:
    """Of each set and split no more than MOST, for emotion alone."""
    chance, picked = random.Random(seed), list[Example]()
    for source in (*EMOTION_SETS, *ALSO):
        for split in ("train", "dev"):
            own = [x for x in examples if (x.source, x.split) == (source, split) and not x.draft]
            picked += chance.sample(own, min(MOST.get(source, len(own)), len(own)))
    return [replace(example, risk=MASKED) for example in picked]


def fitted(before: Heads, rows: Tensor, examples: Sequence[Example]) -> Heads:
    """All columns of before, those of emotion made anew on the train part and calibrated on the dev part."""
    train, dev = _split(examples)
    learned = [replace(x, weight=x.weight * STANDS_FOR.get(x.source, 1.0)) for x in (examples[i] for i in train)]
    new = fit(rows[train], Targets.of(learned), DECAY)
    first = slice(EMOTION_COLUMNS)
    weight, bias = before.weight.clone(), before.bias.clone()
    weight[first] = new.weight[first].lerp(before.weight[first], KEPT)
    bias[first] = new.bias[first].lerp(before.bias[first], KEPT)
    return calibrated(Heads(weight, bias), Vectors.plain(rows[dev]), [examples[i] for i in dev])


def _split(examples: Sequence[Example]) -> tuple[list[int], list[int]]:
    train = [i for i, example in enumerate(examples) if example.split == "train"]
    return train, [i for i, example in enumerate(examples) if example.split == "dev"]


def thresholds(heads: Heads, rows: Tensor, examples: Sequence[Example]) -> Mapping[Group, float]:
    """By set alike, on the dev part."""
    _, dev = _split(examples)
    found = predict(heads, rows[dev], [examples[i] for i in dev])
    parts = [found.of(source) for source in EMOTION_SETS]
    return choose_emotion_thresholds([(part.emotion, part.targets.emotion) for part in parts])


def replace_first(path: Path, heads: Heads) -> None:
    """The columns of emotion in the file; all others stay."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    first = slice(EMOTION_COLUMNS)
    tensors["weight"][first], tensors["bias"][first] = heads.weight[first], heads.bias[first]
    save_file(tensors, path, metadata=metadata)
    path.chmod(0o644)


if __name__ == "__main__":
    typer.run(main)
