"""LLM Mode as shipped, classifier and guard included, beside a client that puts the same together from vLLM's servers.

That client has every seeker message and every sentence of the reply classified before it shows them. It is a quick one:
it asks for the classification and for the reply at the same time, and classifies sentences while more are written.
"""

import asyncio
import re
import time

from benchmarks.speed import wire
from benchmarks.speed.conversations import Session, Turn
from benchmarks.speed.driver import Ask
from benchmarks.speed.parts.base import BOUND, GREEDY, Bench, Found, Part, Run, ours
from benchmarks.speed.peers import COUNSELOR, ENCODER_PREFIX
from benchmarks.speed.wire import Answer

CLIENT = "vllm + vllm-classify"
LEVELS = {1: (6, 1), 4: (12, 1), 16: (64, 1)}
CALM = ("none", "indicator")

_SENTENCE = re.compile(r".*?(?:[.!?](?=\s)|[。！？\n])", re.DOTALL)


class Sentences:
    """Cuts what comes in pieces into sentences; thinking is no part of them."""

    def __init__(self) -> None:
        self._held = ""
        self._thinks: bool | None = None
        """None: not told yet."""

    def feed(self, piece: str) -> list[str]:
        self._held += piece
        if self._thinks is None and len(self._held) >= len("<think>"):
            self._thinks = self._held.startswith("<think>")
        if self._thinks:
            _, end, rest = self._held.partition("</think>")
            if not end:
                return []
            self._held, self._thinks = rest, False
        if self._thinks is None:
            return []
        found = []
        while match := _SENTENCE.match(self._held):
            found.append(match[0].strip())
            self._held = self._held[match.end() :]
        return [sentence for sentence in found if sentence]

    def rest(self) -> str:
        return "" if self._thinks else self._held.strip()


def client(bench: Bench) -> Ask:
    async def ask(_: Session, turn: Turn) -> Answer:
        started = time.perf_counter()
        sentences, waiting = Sentences(), list[asyncio.Task[str | None]]()
        deltas: list[float] = []

        async def classified(text: str, *, shown: bool) -> str | None:
            body = {"model": "classifier", "input": ENCODER_PREFIX + text}
            wrong, _ = await wire.post(bench.http, f"{bench.fleet.url('vllm-classify')}/classify", body)
            if shown:
                deltas.append(time.perf_counter() - started)
            return wrong

        def heard(piece: str) -> None:
            waiting.extend(asyncio.create_task(classified(text, shown=True)) for text in sentences.feed(piece))

        verdict = asyncio.create_task(classified(turn.newest, shown=False))
        body = {"model": COUNSELOR, "messages": turn.prompt, "max_completion_tokens": BOUND, **GREEDY}
        answer = await wire.chat(bench.http, bench.fleet.url("vllm"), body, heard)
        if rest := sentences.rest():
            waiting.append(asyncio.create_task(classified(rest, shown=True)))
        wrong = [await verdict, *[await task for task in waiting]]
        answer.deltas = sorted(deltas)
        answer.seconds = time.perf_counter() - started
        answer.error = answer.error or next((each for each in wrong if each), None)
        return answer

    return ask


async def calm(bench: Bench, server: str, sessions: list[Session]) -> list[Session]:
    """Those of which no turn is a crisis for our classifier: such a turn takes Agent Mode, whatever was asked for."""
    texts = [turn.newest for session in sessions for turn in session.turns]
    with bench.fleet.alone(server):
        wrong, found = await wire.post(bench.http, f"{bench.fleet.url(server)}/v1/classify", {"input": texts})
    if wrong:
        raise RuntimeError(f"the texts could not be classified: {wrong}")
    alarming = {text for text, entry in zip(texts, found["data"], strict=True) if entry["risk"]["level"] not in CALM}
    return [session for session in sessions if not any(turn.newest in alarming for turn in session.turns)]


async def run(bench: Bench) -> Found:
    whole = ours(bench, "shipped", "psychechat-llm", max_completion_tokens=BOUND, **GREEDY)
    asks: dict[str, tuple[Ask, list[str]]] = {
        CLIENT: (client(bench), ["vllm", "vllm-classify"]),
        "shipped": (whole, ["shipped"]),
    }
    levels = {level: LEVELS[level] for level in ((1, 4) if bench.quick else LEVELS)}
    rows = []
    for server, (ask, uses) in asks.items():
        await bench.closed(Run("warm-up", server, 4, 0, uses), bench.pick(4, 1, "warm"), ask)
    for number in range(1, bench.rounds + 1):
        for level, (count, turns) in levels.items():
            sessions = bench.pick(2 * count, turns, f"shipped {number} {level}")
            sessions = (await calm(bench, "shipped", sessions))[:count]
            for server in bench.in_turn(tuple(asks), number):
                ask, uses = asks[server]
                rows.append(await bench.closed(Run("shipped", server, level, number, uses), sessions, ask))
    return Found(rows)


PART = Part(
    "shipped",
    "LLM Mode as shipped beside a client that classifies with vLLM's own server",
    ("vllm", "vllm-classify", "shipped"),
    run,
)
