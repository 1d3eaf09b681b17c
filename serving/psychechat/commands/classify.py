"""`psychechat classify`: emotion and risk of many texts, in this process, without a server.

The whole input is read once before the engine starts, so that a bad line is found in a second and not after an hour.
"""

import asyncio
import gc
import json
import os
import stat
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, BinaryIO, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from psychechat.commands.console import fail
from psychechat.commands.files import replacing
from psychechat.config import DEMO, Settings
from psychechat.conversation import Assessment
from psychechat.emotion import ABSENT, valence
from psychechat.engines.base import Call, Classifier
from psychechat.errors import EngineUnavailable
from psychechat.policy import Policy

WINDOW = 256
"""Lines that are in memory, and in the engine, at a time."""

GAINED = ("groups", "levels", "labels", "valence", "risk", "risk_level")
"""The keys that each line gains."""

OpenClassifier = Callable[[str], AbstractAsyncContextManager[Classifier]]


def classify(
    source: Annotated[
        Path, typer.Option("--input", help='One JSON object a line: {"text": "…"}. Example: --input messages.jsonl')
    ],
    target: Annotated[
        Path,
        typer.Option(
            "--output", help="Written whole or not at all, readable by you only. Example: --output classified.jsonl"
        ),
    ],
    model: Annotated[
        str,
        typer.Option(help="demo, or a folder with an encoder and heads trained by models/. Example: --model ./encoder"),
    ] = DEMO,
    text_field: Annotated[
        str, typer.Option(help="The key that holds the text. Example: --text-field utterance")
    ] = "text",
) -> None:
    """Add emotion and risk to every line of a file, offline.

    Each line keeps its keys and gains:
    groups      each emotion group's probability of being there
    levels      the same, split into low, mid and high
    labels      the emotions that reach the threshold, at most three
    valence     what they add up to, from -9 to +9
    risk        each severity's probability, in the whole or in the sentence that decides
    risk_level  the worst severity that reaches its threshold

    They say what was detected and diagnose nothing.
    """
    job = Job(source, target, text_field)
    try:
        check(job)
        survey = look_through(job)
        asyncio.run(_run(job, model, survey, open_vllm))
    except (BadLine, BadJob, EngineUnavailable) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or target}: {error.strerror}.")
    skipped = f" ({survey.blank} blank, skipped)" if survey.blank else ""
    lines = f"{survey.texts} of {survey.texts + survey.blank} lines"
    Console().print(f"{lines} classified into {target}{skipped}.", markup=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Job:
    source: Path
    target: Path
    text_field: str = "text"
    policy: Policy = field(default_factory=Policy)
    """Its thresholds make labels and levels of the probabilities."""


class Survey(NamedTuple):
    texts: int
    blank: int


class BadJob(Exception):
    """What was asked for cannot be done; the message says what to change."""


class BadLine(Exception):
    """A line that cannot be classified. The message has its number, never its content."""

    def __init__(self, job: Job, number: int, why: str) -> None:
        super().__init__(f"{job.source}, line {number} {why}. Nothing was written.")


def check(job: Job) -> None:
    if not job.source.exists():
        raise BadJob(f"There is no file {job.source}: pass an existing one with --input.")
    if not stat.S_ISREG(job.source.stat().st_mode):
        raise BadJob(f"{job.source} is no ordinary file, and --input is read twice: save it to a file first.")
    if job.target.exists() and job.target.samefile(job.source):
        raise BadJob("--input and --output are the same file: name another --output.")
    if job.target.is_dir() or not job.target.absolute().parent.is_dir():
        raise BadJob(f"{job.target} cannot be written: name a file in an existing folder with --output.")
    if job.text_field in GAINED:
        raise BadJob(f"--text-field {job.text_field} is a key that classify writes: rename it in the input.")


def look_through(job: Job) -> Survey:
    """Read every line once. Raises BadLine at the first that cannot be classified."""
    texts = blank = 0
    with job.source.open("rb") as file:
        for row in _rows(file, job):
            if row is None:
                blank += 1
            else:
                texts += 1
    if not texts:
        raise BadJob(f"{job.source} holds no line to classify.")
    return Survey(texts, blank)


async def classify_file(classifier: Classifier, job: Job, advance: Callable[[int], None]) -> None:
    """Classify window by window, in order. `advance` is told the number of lines done.

    Raises BadLine, EngineUnavailable or OSError; then the output is as it was before.
    """
    with job.source.open("rb") as source, replacing(job.target) as target:
        rows = (row for row in _rows(source, job) if row is not None)
        for number, window in enumerate(_windows(rows)):
            call = Call(request_id=f"classify-{number}", session_id="classify")
            assessments = await classifier.classify([row[job.text_field] for row in window], call)
            for row, assessment in zip(window, assessments, strict=True):
                target.write(_line(row | describe(assessment, job.policy)))
            advance(len(window))


def describe(assessment: Assessment, policy: Policy) -> dict[str, Any]:
    """What a line gains: the keys in `GAINED`."""
    labels = [emotion.label for emotion in assessment.emotions(policy.emotion_thresholds.by_group)]
    thresholds = policy.risk.by_severity
    return {
        "groups": {group: round(1 - columns[ABSENT], 6) for group, columns in assessment.groups.items()},
        "levels": {group: [round(p, 6) for p in columns[1:]] for group, columns in assessment.groups.items()},
        "labels": [label.name("en") for label in labels],
        "valence": valence(labels),
        "risk": {severity.label: round(share, 6) for severity, share in assessment.decided_by(thresholds).items()},
        "risk_level": assessment.severity(thresholds).label,
    }


@asynccontextmanager
async def open_vllm(model: str) -> AsyncGenerator[Classifier, None]:
    """The vLLM classifier for `demo` or a model folder. Starting its engine takes most of a minute."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB; an encoder keeps no cache
    try:
        from psychechat.demo import encoder
        from psychechat.engines.vllm.classifier import VllmClassifier
    except ImportError as error:
        raise BadJob(
            f"{error.name} is not installed: install psychechat-server[cpu] or psychechat-server[gpu]."
        ) from None
    if model == DEMO:
        try:
            folder = encoder.prepare(Settings().cache.expanduser())
        except ValueError as error:
            raise BadJob(f"The demo encoder cannot be prepared: {error}.") from None
    else:
        folder = Path(model)
    if not (folder / "config.json").is_file():
        raise BadJob(f"{folder} holds no model: pass --model demo, or a folder with a config.json.")
    with Console(stderr=True).status("starting the engine…"):
        engine = VllmClassifier(folder)
    try:
        yield engine
    finally:
        engine.shutdown()
        del engine
        gc.collect()  # else vLLM's finalizer runs after its modules are gone, and prints a traceback


async def _run(job: Job, model: str, survey: Survey, open_classifier: OpenClassifier) -> None:
    columns = (TextColumn("classifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with open_classifier(model) as classifier:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task("", total=survey.texts)
            await classify_file(classifier, job, lambda done: progress.advance(task, done))


def _rows(file: BinaryIO, job: Job) -> Iterator[dict[str, Any] | None]:
    """The objects of the file's lines; None for a blank line. Raises BadLine."""
    for number, raw in enumerate(file, 1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError:
            raise BadLine(job, number, "is not UTF-8: convert the file") from None
        if not line:
            yield None
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise BadLine(job, number, 'is not a JSON object: write one object a line, as {"text": "…"}')
        text = row.get(job.text_field)
        if not isinstance(text, str):
            raise BadLine(job, number, f"has no text under '{job.text_field}': add it, or pass --text-field")
        if not text.strip():
            raise BadLine(job, number, f"has nothing in '{job.text_field}': fill it in, or remove the line")
        if taken := [key for key in GAINED if key in row]:
            raise BadLine(job, number, f"already has '{taken[0]}', which classify writes: rename it")
        yield row


def _windows(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    rows = iter(rows)
    while window := list(islice(rows, WINDOW)):
        yield window


def _line(row: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(row, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write and UTF-8 cannot
        return json.dumps(row).encode() + b"\n"
