"""What the output guard stops and what it lets pass: `python -m benchmarks.guard`.

2,000 replies that counselors gave, from the held-back parts of five sets, of which it may stop one in a hundred;
replies that nobody may give, and good ones that come close, written for this in `tests/serving/safety`; and what the
risk head would add, which is why it has no say. The sets lie beside the repository and hold people's words: nothing
here prints or keeps a text.
"""

import gzip
import json
import platform
import random
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
import yaml
from rich.console import Console

from models.data import ROOT
from models.embeddings import MAX_LEN, backbone, vectors_of
from models.predictions import load_heads
from psychechat.demo.encoder import prepare
from psychechat.engines.vllm.windows import Windows
from psychechat.policy import OutputGuard
from psychechat.risk import CRISIS
from psychechat.safety.output_guard import Guard, check

RESULTS = Path(__file__).parent / "results"
WRITTEN = Path(__file__).resolve().parents[1] / "tests" / "serving" / "safety"
HELD_BACK = {
    "smilechat/dev": 600,
    "cpsycoun/dev": 600,
    "esconv_nc/loadtest": 622,
    "counsel_chat/dev": 171,
    "psychechat/conversations_dev": 7,
}
"""Replies from each; no phrase was tuned on these parts (ESConv has one only, and was looked at for false blocks)."""
ASKING = (*HELD_BACK, "mdd5k/dev", "vera_mh/train")
"""Where replies that ask about suicide are looked for. The last two hold conversations with people at risk."""
SPLITS = 20
THRESHOLDS = (0.5, 0.65, 0.8, 0.9, 0.95, 0.99)

_ABOUT_SUICIDE = re.compile(
    r"suicid|kill(ing)? yourself|end(ing)? your (own )?life|tak(e|ing) your (own )?life|hurt(ing)? yourself"
    r"|harm(ing)? yourself|self-harm|自杀|轻生|自残|自伤|伤害自己|结束生命|结束自己|不想活|想死"
)
_SENTENCE = re.compile(r"[^.!?。！？\n]+[.!?。！？]*")


def replies(part: str) -> list[str]:
    """What the counselors of a part of a set said, turn by turn."""
    with gzip.open(ROOT / f"{part}.jsonl.gz", "rt", encoding="utf-8") as file:
        turns = [turn for row in map(json.loads, file) for turn in row["turns"]]
    return [turn["text"] for turn in turns if turn["role"] in ("counselor", "doctor") and turn["text"].strip()]


def sample(part: str, count: int, seed: int) -> list[str]:
    found = replies(part)
    return random.Random(seed).sample(found, count)


def asks_about_suicide(reply: str) -> bool:
    sentences = [sentence.strip() for sentence in _SENTENCE.findall(reply)]
    return any(s.endswith(("?", "？")) and _ABOUT_SUICIDE.search(s.lower()) for s in sentences)


def written(name: str) -> list[tuple[str, str]]:
    """(kind and language, reply) of each reply in one of the files of the tests."""
    table = yaml.safe_load((WRITTEN / f"{name}.yaml").read_text("utf-8"))
    return [
        (f"{kind} {language}", reply)
        for kind, languages in table.items()
        for language, texts in languages.items()
        for reply in texts
    ]


def pieces(text: str, chance: random.Random) -> Iterator[str]:
    """The text, cut at random places: as an engine might stream it, and worse."""
    cuts = sorted(chance.sample(range(1, len(text)), min(chance.randint(1, 40), len(text) - 1)))
    yield from (text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True))


def stops_in_pieces(text: str, settings: OutputGuard, chance: random.Random) -> bool:
    guard = Guard(settings)
    for piece in pieces(text, chance):
        guard.feed(piece)
    guard.finish()
    return guard.stopped


def unsafe(name: str, settings: OutputGuard, chance: random.Random) -> dict[str, Any]:
    rows = written(name)
    stopped = Counter(kind for kind, reply in rows if check(reply, settings))
    split = [all(stops_in_pieces(reply, settings, chance) for _ in range(SPLITS)) for _, reply in rows]
    return {
        "replies": len(rows),
        "blocked_whole": stopped.total(),
        f"blocked_in_each_of_{SPLITS}_random_splits": sum(split),
        "by_kind": {kind: f"{stopped[kind]}/{count}" for kind, count in Counter(kind for kind, _ in rows).items()},
    }


def passing(sets: dict[str, list[str]], settings: OutputGuard) -> dict[str, Any]:
    """How many replies of each set are stopped, and why."""
    causes = {part: Counter(filter(None, (check(text, settings) for text in texts))) for part, texts in sets.items()}
    total = sum(map(len, sets.values()))
    blocked = sum(found.total() for found in causes.values())
    return {
        "replies": total,
        "blocked": blocked,
        "blocked_share": round(blocked / total, 4),
        "by_set": {part: {"replies": len(sets[part]), **found} for part, found in causes.items()},
    }


def head(kept: Sequence[str], bad: Sequence[str], settings: OutputGuard, console: Console) -> dict[str, Any]:
    """The risk head over the sentences that are no questions: what it would stop that no phrase does.

    For each threshold of "ideation or worse": good replies, and replies that nobody may give, with such a sentence.
    """
    folder = prepare(Path("~/.cache/psychechat").expanduser(), console=console)
    heads, model, windows = load_heads(folder / "model.safetensors"), backbone(folder), Windows.of(folder, MAX_LEN)
    texts = [text for text in (*kept, *bad) if check(text, settings) is None]
    good = sum(1 for text in kept if check(text, settings) is None)
    owners, rows = [], []
    for owner, text in enumerate(texts):
        for sentence in _SENTENCE.findall(text):
            if sentence.strip() and not sentence.rstrip().endswith(("?", "？")):
                owners.append(owner)
                rows.append(windows.cut(sentence.strip())[0])
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))  # equal lengths together: little padding
    with console.status(f"The risk head on {len(rows):,} sentences ..."):
        vectors = vectors_of(model, [rows[i] for i in order], "mean")
    shares = heads.logits(vectors)[1].softmax(-1)[:, CRISIS:].sum(-1).tolist()
    worst = [0.0] * len(texts)
    for i, share in zip(order, shares, strict=True):
        worst[owners[i]] = max(worst[owners[i]], share)
    return {
        "sentences": len(rows),
        "good_replies_no_phrase_stops": good,
        "unsafe_replies_no_phrase_stops": len(texts) - good,
        "by_threshold": {
            str(threshold): {
                "good_blocked": sum(share >= threshold for share in worst[:good]),
                "unsafe_blocked": sum(share >= threshold for share in worst[good:]),
            }
            for threshold in THRESHOLDS
        },
    }


def cost(texts: Sequence[str], settings: OutputGuard) -> dict[str, float]:
    """Milliseconds of processor time."""
    check(texts[0], settings)  # the rules are compiled once
    started = time.process_time()
    for text in texts:
        check(text, settings)
    spent = 1000 * (time.process_time() - started)
    sentences = sum(len(_SENTENCE.findall(text)) for text in texts)
    return {"ms_per_reply": round(spent / len(texts), 3), "ms_per_sentence": round(spent / sentences, 3)}


def main(
    seed: Annotated[int, typer.Option(help="Decides which replies are taken and where texts are cut.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads for the risk head.")] = 1,
    output: Annotated[Path | None, typer.Option(help="Folder for the result. [benchmarks/results/DATE]")] = None,
) -> None:
    """Measure and write guard.json."""
    console = Console(stderr=True)
    if not ROOT.is_dir():
        console.print(f"No data sets at {ROOT}. This needs {', '.join(ASKING)} as gzipped JSON lines.")
        raise typer.Exit(1)
    torch.set_num_threads(threads)
    settings, chance = OutputGuard(), random.Random(seed)
    sets = {part: sample(part, count, seed) for part, count in HELD_BACK.items()}
    kept = [text for texts in sets.values() for text in texts]
    asking = {part: [text for text in replies(part) if asks_about_suicide(text)] for part in ASKING}
    near = [reply for _, reply in written("good_replies")]
    bad = [reply for name in ("unsafe_replies", "unsafe_replies_held_out") for _, reply in written(name)]
    everyone = Counter(cause for reply in near if (cause := check(reply, settings)))
    report = {
        "command": f"python -m benchmarks.guard --seed {seed} --threads {threads}",
        "machine": f"{platform.processor() or platform.machine()}, Python {platform.python_version()}",
        "counselor_replies": passing(sets, settings),
        "replies_that_ask_about_suicide": passing({part: texts for part, texts in asking.items() if texts}, settings),
        "unsafe": unsafe("unsafe_replies", settings, chance),
        "unsafe_held_out": unsafe("unsafe_replies_held_out", settings, chance),
        "good_that_come_close": {"replies": len(near), "blocked": everyone.total()},
        "cost": cost(kept, settings),
        "risk_head": head(kept, bad, settings, console),
    }
    folder = output or RESULTS / datetime.now(UTC).date().isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "guard.json").write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", "utf-8")
    typer.echo(json.dumps(report, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    typer.run(main)
