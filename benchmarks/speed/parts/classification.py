"""Texts through our whole HTTP path beside vLLM's own pooling server and sentence-transformers.

All have the same encoder on the same core. sentence-transformers has no server: a process is handed the texts, with all
servers held still, so no figure of it has a request in it. It begins anew in each round; loading is not counted.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial

from benchmarks.speed import measure, wire
from benchmarks.speed.driver import Load
from benchmarks.speed.measure import Row
from benchmarks.speed.parts.base import Bench, Found, Part, Run
from benchmarks.speed.peers import CLASSIFIER_CORE, ENCODER_PREFIX, SENTENCE_TRANSFORMERS, with_package
from benchmarks.speed.wire import Answer

PACKAGE = "sentence-transformers"
PEERS = ("vllm-classify", PACKAGE)
SERVERS = (*PEERS, "shipped")
AT_ONCE = 64
SINGLES, BATCH, BATCHES = 192, 64, 2
ROUTES = {"vllm-classify": "/classify", "shipped": "/v1/classify"}
PREFIXES = {"vllm-classify": ENCODER_PREFIX, "shipped": ""}
MODELS = {"vllm-classify": "classifier", "shipped": "psychechat"}

Texts = Sequence[Sequence[str]]
"""Those of each request or call."""


async def requests(bench: Bench, server: str, texts: Texts, at_once: int) -> Load:
    """Each request carries its texts; an answer's `completion_tokens` are the texts that it classified."""
    waiting = list(texts)
    answers: list[Answer] = []

    async def person() -> None:
        while waiting:
            batch = waiting.pop()
            started = time.perf_counter()
            body = {"model": MODELS[server], "input": [PREFIXES[server] + text for text in batch]}
            wrong, found = await wire.post(bench.http, bench.fleet.url(server) + ROUTES[server], body)
            took = time.perf_counter() - started
            answer = Answer(wrong, [took], seconds=took, completion_tokens=len(found["data"]) if found else 0)
            answers.append(answer)

    started = time.perf_counter()
    await asyncio.gather(*(person() for _ in range(at_once)))
    return Load(tuple(answers), time.perf_counter() - started)


async def served(bench: Bench, server: str, number: int, ones: Texts, batches: Texts) -> list[Row]:
    return [
        await bench.measured(Run(part, server, at_once, number), partial(requests, bench, server, texts, at_once))
        for part, texts, at_once in (("classify", ones, AT_ONCE), ("classify-batch", batches, 1))
    ]


def handed(bench: Bench, number: int, ones: Texts, batches: Texts) -> list[Row]:
    """Beside 64 people at once stands one call with all texts; beside batches, the same ones. And each text alone."""
    together = [[text for one in ones for text in one]]
    jobs = {("classify", AT_ONCE): together, ("classify-batch", 1): batches, ("classify-single", 1): ones}
    command = ["taskset", "--cpu-list", CLASSIFIER_CORE, sys.executable]
    command += ["-m", "benchmarks.speed.sentence_transformers_peer"]
    env = {**os.environ, **with_package(SENTENCE_TRANSFORMERS), "OMP_NUM_THREADS": "1"}
    env |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    asked = json.dumps(list(jobs.values()))
    with bench.fleet.alone():
        done = subprocess.run(command, input=asked, env=env, stdout=subprocess.PIPE, text=True, check=True)
    rows = []
    for (part, at_once), texts, told in zip(jobs, jobs.values(), json.loads(done.stdout), strict=True):
        load = timed(texts, told["seconds"])
        rows.append(measure.row(part, PACKAGE, at_once, number, load, cpu_seconds=told["cpu_seconds"]))
        bench.console.log(f"{part} round {number}, {PACKAGE}: {rows[-1].tokens_s} texts/s")
    return rows


def timed(texts: Texts, seconds: Sequence[float]) -> Load:
    """One answer a call, as of requests."""
    answers = [
        Answer(deltas=[took], seconds=took, completion_tokens=len(call))
        for call, took in zip(texts, seconds, strict=True)
    ]
    return Load(tuple(answers), sum(seconds))


async def run(bench: Bench) -> Found:
    rows: list[Row] = []
    for number in range(bench.rounds + 1):  # the first warms up
        sessions = bench.pick(SINGLES if number and not bench.quick else AT_ONCE, 1, f"texts {number}")
        texts = [session.turns[0].newest for session in sessions]
        ones = [[text] for text in texts]
        batches = [texts[start : start + BATCH] for start in range(0, min(len(texts), BATCHES * BATCH), BATCH)]
        for server in bench.in_turn(SERVERS, number):
            if server == PACKAGE:
                found = handed(bench, number, ones, batches)
            else:
                found = await served(bench, server, number, ones, batches)
            rows += found if number else []
    return Found(rows)


PART = Part(
    "classify",
    "Classification beside vLLM's own pooling server and sentence-transformers",
    ("vllm-classify", "shipped"),
    run,
)
