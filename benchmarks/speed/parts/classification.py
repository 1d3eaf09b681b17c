"""Texts through our whole HTTP path beside vLLM's own pooling server with the same encoder on the same core."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial

from benchmarks.speed import wire
from benchmarks.speed.driver import Load
from benchmarks.speed.parts.base import Bench, Found, Part, Run
from benchmarks.speed.peers import ENCODER_PREFIX
from benchmarks.speed.wire import Answer

SERVERS = ("vllm-classify", "shipped")
AT_ONCE = 64
SINGLES, BATCH, BATCHES = 192, 64, 2
ROUTES = {"vllm-classify": "/classify", "shipped": "/v1/classify"}
PREFIXES = {"vllm-classify": ENCODER_PREFIX, "shipped": ""}
MODELS = {"vllm-classify": "classifier", "shipped": "psychechat"}


async def requests(bench: Bench, server: str, texts: Sequence[Sequence[str]], at_once: int) -> Load:
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


async def run(bench: Bench) -> Found:
    rows = []
    for number in range(bench.rounds + 1):  # the first warms up
        sessions = bench.pick(SINGLES if number and not bench.quick else AT_ONCE, 1, f"texts {number}")
        texts = [session.turns[0].newest for session in sessions]
        ones = [[text] for text in texts]
        batches = [texts[start : start + BATCH] for start in range(0, min(len(texts), BATCHES * BATCH), BATCH)]
        for server in bench.in_turn(SERVERS, number):
            for part, asked, at_once in (("classify", ones, AT_ONCE), ("classify-batch", batches, 1)):
                loaded = partial(requests, bench, server, asked, at_once)
                row = await bench.measured(Run(part if number else "warm-up", server, at_once, number), loaded)
                rows += [row] if number else []
    return Found(rows)


PART = Part("classify", "Classification beside vLLM's own pooling server", ("vllm-classify", "shipped"), run)
