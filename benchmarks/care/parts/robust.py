"""Ordinary turns of `benchmarks.care.parts.cases`: nothing is to break, whatever sampling and history they come with.

A turn that is refused for load waits and asks again; it is no error. How replies ended is counted, not judged.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import partial

from benchmarks.care import texts
from benchmarks.care.asking import Answer, Client
from benchmarks.care.counting import share, spread
from benchmarks.care.parts.base import Found, Run, complaints
from benchmarks.care.parts.cases import KINDS, Case, Lines, case
from benchmarks.care.progress import Row, each
from benchmarks.care.wording import UNDECODED

SOURCES = ("esconv_nc/loadtest", "smilechat/dev", "loadtest_mix/conversations")
TRIES, WAIT_SECONDS = 10, 2.0


def row(case: Case, answer: Answer) -> Row:
    """Of one turn: no words of it."""
    return {
        "kind": case.kind,
        "model": case.model,
        "stream": case.stream,
        "status": answer.status,
        "code": answer.code,
        "done": answer.done,
        "reason": answer.reason,
        "finish": sorted(answer.finish.values()),
        "choices": len(answer.texts),
        "fallback": answer.review("fallback"),
        "cut": answer.review("cut"),
        "undecoded": any(UNDECODED in text for text in answer.texts.values()),
        "empty": answer.status == 200 and not all(text.strip() for text in answer.texts.values() or ("",)),
        "seconds": round(answer.seconds, 3),
    }


def told(rows: Sequence[Row]) -> Found:
    ended = Counter(reason for row in rows for reason in row["finish"])
    return {
        "turns": len(rows),
        "server_errors": sum(row["status"] >= 500 for row in rows),
        "broken_connections": sum(row["status"] == 0 for row in rows),
        "error_events": sum(row["status"] == 200 and row["code"] is not None for row in rows),
        "cut_streams": sum(row["status"] == 200 and row["code"] is None and not row["done"] for row in rows),
        "refused_requests": dict(Counter(f"{r['status']} {r['code']}" for r in rows if 400 <= r["status"] < 500)),
        "undecoded": sum(row["undecoded"] for row in rows),
        "empty": sum(row["empty"] for row in rows),
        "fallbacks": sum(row["fallback"] for row in rows),
        "cut": sum(row["cut"] for row in rows),
        "finish": dict(ended),
        "taken_for_a_crisis": sum(row["reason"] == "crisis" for row in rows),
        "seconds": spread([row["seconds"] for row in rows], 2),
    }


async def ask(client: Client, one: Case) -> Row:
    for _ in range(TRIES):
        answer = await client.turn(one.messages, model=one.model, stream=one.stream, **one.sampling)
        if answer.status != 429:
            break
        await asyncio.sleep(WAIT_SECONDS)
    return row(one, answer)


async def run(run: Run, client: Client, turns: int) -> Found:
    lines: Lines = texts.seeker_lines(run.data, SOURCES)
    jobs = {str(number): partial(_ask, client, lines, run.seed, number) for number in range(turns)}
    rows = await each(run.rows("robust"), jobs, run.at_once, run.console, "ordinary turns")
    return figures(rows)


async def _ask(client: Client, lines: Lines, seed: int, number: int) -> Row:
    return await ask(client, case(lines, seed, number))


def figures(rows: Sequence[Row]) -> Found:
    everything = told(rows)
    refused = sum(everything["refused_requests"].values())
    failed = everything["server_errors"] + everything["broken_connections"]
    return {
        "all": {**everything, "failed": share(failed, len(rows))},
        "by_kind": {kind: told([row for row in rows if row["kind"] == kind]) for kind in KINDS},
        "by_model": {
            name: told([row for row in rows if row["model"] == name]) for name in sorted({r["model"] for r in rows})
        },
        "missed": complaints(
            (not failed, f"{failed} turns of {len(rows)} are a 5xx or broke off"),
            (not everything["error_events"], f"{everything['error_events']} streams ended in an error"),
            (not everything["cut_streams"], f"{everything['cut_streams']} streams did not end"),
            (not everything["undecoded"], f"{everything['undecoded']} replies hold U+FFFD"),
            (not refused, f"{refused} turns are refused: {everything['refused_requests']}"),
            (not everything["empty"], f"{everything['empty']} replies are empty"),
        ),
    }
