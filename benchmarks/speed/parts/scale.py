"""How many streams one ingress replica carries, with engines that keep a GPU's pace without one.

The scripted engine writes a numbered word every 1/30 s, so each word that arrives says when it was due. What it comes
later than that is what the server added, waiting for the words it leaves with included: engine replica, Ray, ingress,
HAProxy, and this client, all on two cores. The ingress replica has core 1 for itself; everything else shares core 0.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL
from tempfile import mkdtemp
from typing import Any

import aiohttp
import orjson
import psutil

from benchmarks.speed import wire
from benchmarks.speed.measure import percentiles
from benchmarks.speed.parts.base import Bench, Found, Part
from benchmarks.speed.peers import ours
from benchmarks.speed.processes import Tree
from tests.support.servers import SCRIPTED, Server, free_port

PACE = 30
"""Tokens a second: what Qwen3-8B writes for each of many streams on one GPU."""
FIRST_SECONDS = 0.2
SECONDS = 8
STREAMS = (50, 100, 150, 200, 300, 400, 600)
ADDED_MS = 100.0
REPLICAS = (1, 2, 4)
REPLICAS_STREAMS = 50


def settings(replicas: int = 1) -> dict[str, Any]:
    text = " ".join(f"w{number}" for number in range(1, PACE * SECONDS + 1))
    arguments = {
        "table": {"reply": [text]},
        "seconds_per_word": 1 / PACE,
        "first_seconds": FIRST_SECONDS,
        "keep": False,
    }
    engine = {"engine": "scripted", "replicas": {"num_cpus": 0, "num_replicas": replicas}}
    return {
        **SCRIPTED,
        "ingress": {"num_cpus": 0, "num_replicas": replicas},
        "counselor": {**engine, "max_num_seqs": 4096, "engine_args": arguments},
        "policy": {"guard": {"mode": "off"}, "admission": {"tokens": 1_000_000, "waiting": 4096}},
    }


@dataclass
class Seen:
    """What came of the streams of one level."""

    added: list[float] = field(default_factory=list)
    """How late each word came, in seconds."""
    pieces: int = 0
    failed: int = 0


async def stream(http: aiohttp.ClientSession, url: str, seen: Seen) -> None:
    body = orjson.dumps(
        {"model": "psychechat-llm", "messages": [{"role": "user", "content": "Hello."}], "stream": True}
    )
    started = time.perf_counter()
    count = 0
    async with http.post(f"{url}/v1/chat/completions", data=body, headers=wire.JSON) as response:
        async for line in response.content:
            if b'"content":"' not in line:
                continue
            content = orjson.loads(line[6:])["choices"][0]["delta"].get("content", "")
            if not content:
                continue
            now = time.perf_counter() - started - FIRST_SECONDS
            words = content.split()
            seen.added += [now - int(word[1:]) / PACE for word in words]
            seen.pieces += 1
            count += len(words)
    seen.failed += count != PACE * SECONDS


async def level(http: aiohttp.ClientSession, url: str, streams: int) -> dict[str, Any]:
    seen, tasks = Seen(), []
    for _ in range(streams):
        tasks.append(asyncio.create_task(stream(http, url, seen)))
        await asyncio.sleep(min(2.0, SECONDS / 3) / streams)  # nobody comes in step
    await asyncio.gather(*tasks)
    p50, p90, p99 = percentiles(seen.added)
    return {
        "streams": streams,
        "added_ms": {"p50": p50, "p90": p90, "p99": p99},
        "words_a_piece": round(len(seen.added) / max(1, seen.pieces), 2),
        "failed": seen.failed,
    }


def replicas(tree: Tree, name: str) -> list[psutil.Process]:
    return [process for process in tree.processes() if f":{name}" in " ".join(process.cmdline())]


@contextmanager
def cores_apart(ingress: list[psutil.Process], tree: Tree) -> Iterator[None]:
    """The ingress has core 1 for itself, this client and the rest of the server core 0; where there is but one: no."""
    every = set(range(os.cpu_count() or 1))
    others = [process for process in [psutil.Process(), *tree.processes()] if process not in ingress]
    if len(every) > 1:
        pin(ingress, {1})
        pin(others, {0})
    try:
        yield
    finally:
        pin([*ingress, *others], every)


def pin(processes: list[psutil.Process], cores: set[int]) -> None:
    """Every thread of theirs; one that has ended needs none."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            for thread in process.threads():
                with suppress(ProcessLookupError):
                    os.sched_setaffinity(thread.id, cores)


def spent(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


@contextmanager
def served(count: int) -> Iterator[Server]:
    """The server with so many replicas of ingress and engines, sharing a Redis where they have to."""
    folder = Path(mkdtemp(prefix="psychechat-scale-"))
    if count == 1:
        with ours(settings(), folder) as server:
            yield server
        return
    port = free_port()
    command = [shutil.which("redis-server", path=Path(sys.executable).parent) or "redis-server", "--port", str(port)]
    redis = subprocess.Popen([*command, "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)], stdout=DEVNULL)
    try:
        keys = {"index": "0" * 64, "encrypt_with": "any", "keys": {"any": "1" * 64}}
        env = {"PSYCHECHAT_REDIS_URL": f"redis://127.0.0.1:{port}/0", "PSYCHECHAT_MEMORY_KEYS": json.dumps(keys)}
        with ours(settings(count) | {"memory": {"backend": "redis"}}, folder, env=env) as server:
            yield server
    finally:
        redis.kill()
        redis.wait()


async def run(bench: Bench) -> Found:
    curve, growth = [], []
    for count in REPLICAS[:1] if bench.quick else REPLICAS:
        with served(count) as server:
            tree = Tree(server.process.pid)
            await level(bench.http, server.url, 10)  # warms up
            ingress, engines = replicas(tree, "ingress"), replicas(tree, "counselor")
            if count == 1:
                for streams in STREAMS[:2] if bench.quick else STREAMS:
                    with cores_apart(ingress, tree):
                        before = spent(ingress)
                        found = await level(bench.http, server.url, streams)
                        found["ingress_core_ms_per_stream_second"] = milli(spent(ingress) - before, streams)
                    curve.append(found)
                    bench.console.log(f"scale: {found}")
                    if found["added_ms"]["p99"] > 20 * ADDED_MS:
                        break
            before_in, before_en, before = spent(ingress), spent(engines), tree.cpu_seconds()
            await level(bench.http, server.url, REPLICAS_STREAMS)
            growth.append(
                {
                    "replicas": count,
                    "streams": REPLICAS_STREAMS,
                    "ingress_ms": milli(spent(ingress) - before_in, REPLICAS_STREAMS),
                    "engines_ms": milli(spent(engines) - before_en, REPLICAS_STREAMS),
                    "all_ms": milli(tree.cpu_seconds() - before, REPLICAS_STREAMS),
                }
            )
            bench.console.log(f"scale: {growth[-1]}")
    return Found(facts={"pace": PACE, "curve": curve, "cpu_ms_per_stream_second": growth})


def milli(seconds: float, streams: int) -> float:
    """CPU milliseconds for each second of each stream."""
    return round(1000 * seconds / (streams * SECONDS), 3)


PART = Part("scale", "How many streams one ingress replica carries, with scripted engines", (), run)
