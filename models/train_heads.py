"""Train heads for any encoder or decoder that vLLM pools: `python -m models.train_heads --encoder PATH --data PATH …`.

The model stays frozen. Each text is embedded once (kept under `--out`, so an interrupted run resumes), both heads are
fitted, then calibrated on the dev rows, and a model folder is written that the server's
`classifier.model` can name, with a card that holds its figures and the thresholds for `policy`.

`--data` is JSON lines, gzipped or not, one text a row:

    {"text": "…", "emotion": {"joy": 2, "fear": 0, "anger": true}, "risk": 0, "split": "train"}

`emotion` names the groups that were annotated: 0 absent, 1 to 3 low to high, true there at an unknown intensity. `risk`
is 0 to 4. Either may be left out. `split` is "train" (if left out) or "dev". Without `--data` the sets that the demo
learned from are read.
"""

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import save_file

from models.calibration import calibrated
from models.card import folder_card
from models.data import GROUPS, MASKED, PRESENT, DataMissing, Example, load
from models.embeddings import Pooling, embed
from models.heads import Heads, Targets, fit
from models.predictions import Predictions, predict
from models.readings import Vectors
from models.scores import choose_emotion_threshold, choose_risk_thresholds, emotion_scores, risk_scores
from models.written import Split
from psychechat.emotion import Group
from psychechat.engines.vllm.plugin import PREFIX
from psychechat.engines.vllm.windows import WIDTHS

DECAY = 1e-2
RECALL = 0.95
"""What the ideation threshold must reach on the dev rows."""


class Row(BaseModel):
    """A line of `--data`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str
    emotion: dict[Group, Literal[True] | Annotated[int, Field(ge=0, le=3, strict=True)]] = {}
    risk: Annotated[int, Field(ge=0, le=4)] | None = None
    split: Split = "train"

    def example(self, source: str) -> Example:
        levels = {group: PRESENT if level is True else int(level) for group, level in self.emotion.items()}
        emotion = tuple(levels.get(group, MASKED) for group in GROUPS)
        return Example(self.text, source, self.split, emotion, MASKED if self.risk is None else self.risk)


def main(
    encoder: Annotated[Path, typer.Option(help="A Hugging Face folder: config.json, tokenizer.json, *.safetensors.")],
    out: Annotated[Path, typer.Option(help="Where the model folder goes.")],
    data: Annotated[list[Path] | None, typer.Option(help="JSON lines; may be given more than once.")] = None,
    pooling: Annotated[Pooling, typer.Option(help="Which tokens a text's vector is taken from.")] = "mean",
    prefix: Annotated[str, typer.Option(help="What the model reads before each text.")] = "",
    seed: Annotated[int, typer.Option(help="Decides the sample of the demo's sets.")] = 0,
) -> None:
    console = Console(stderr=True)
    try:
        examples = [example for path in data for example in read(path)] if data else load(seed)
    except (DataMissing, ValueError) as error:
        console.print(str(error))
        raise typer.Exit(1) from None
    train = [example for example in examples if example.split == "train"]
    dev = [example for example in examples if example.split == "dev"]
    if not train or not dev:
        console.print('The data needs rows of split "train" and of split "dev".')
        raise typer.Exit(1)
    out.mkdir(parents=True, exist_ok=True)
    vectors = embed([example.text for example in (*train, *dev)], encoder, prefix, pooling, out / ".vectors")
    seen, unseen = torch.from_numpy(vectors[: len(train)]), torch.from_numpy(vectors[len(train) :])
    with console.status("Fitting"):
        heads = calibrated(fit(seen, Targets.of(train), DECAY), Vectors.plain(unseen), dev)
    write(encoder, out, heads, {"groups": list(WIDTHS), "pooling": pooling, "prefix": prefix})
    report = measure(predict(heads, unseen, dev))
    (out / "README.md").write_text(folder_card(encoder.name, pooling, prefix, len(train), report))
    typer.echo(json.dumps(report, indent=1))


def read(path: Path) -> Iterator[Example]:
    """Raises ValueError with the line's number, and never its text, if a row is malformed."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield Row.model_validate_json(line).example(path.name)
            except ValidationError as error:
                fields = sorted({".".join(map(str, problem["loc"])) or "the row" for problem in error.errors()})
                raise ValueError(f"{path.name}, line {number}: malformed {', '.join(fields)}") from None


def measure(dev: Predictions) -> dict[str, Any]:
    """Thresholds chosen on the dev rows, and the figures that they give there."""
    report: dict[str, Any] = {"dev_texts": len(dev.examples)}
    if bool((dev.targets.emotion > 0).any()):
        threshold = choose_emotion_threshold([(dev.emotion, dev.targets.emotion)])
        scores = emotion_scores(dev.emotion, dev.targets.emotion, threshold)
        report["emotion"] = {"threshold": round(threshold, 2), **scores}
    risky = dev.with_risk()
    if bool((risky.targets.risk >= 2).any()):
        chosen = choose_risk_thresholds([(risky.risk, risky.targets.risk)], [RECALL])
        named = {severity.label: value for severity, value in chosen.items()}
        report["risk"] = {"thresholds": named, **risk_scores(risky.risk, risky.targets.risk, chosen)}
    return report


def write(encoder: Path, out: Path, heads: Heads, settings: dict[str, Any]) -> None:
    """The encoder's own files, the heads in a file of their own, and an index that names the tensors of all."""
    for path in encoder.iterdir():
        if path.is_file() and path.suffix in (".json", ".safetensors", ".model", ".txt"):
            shutil.copyfile(path, out / path.name)
    save_file({"heads.weight": heads.weight.contiguous(), "heads.bias": heads.bias}, out / "heads.safetensors")
    places: dict[str, str] = {}
    for path in sorted(out.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            places |= dict.fromkeys(file.keys(), path.name)
    (out / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}, indent=1))
    config = json.loads((encoder / "config.json").read_text())
    config |= {"architectures": [PREFIX + config["architectures"][0]], "psychechat": settings}
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
