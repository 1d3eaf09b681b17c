"""What the figures should be, and what they are. A figure that is missed stays in the table, with `reasons.yaml`."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from benchmarks.speed.measure import difference, median, ratio
from benchmarks.speed.parts.agent import OURS, RESEARCH
from benchmarks.speed.parts.classification import PEERS
from benchmarks.speed.parts.engine import BARE
from benchmarks.speed.parts.scale import ADDED_MS
from benchmarks.speed.parts.shipped import CLIENT

REASONS = Path(__file__).with_name("reasons.yaml")

Results = Mapping[str, Any]
"""By part: `rows` and `facts`, as they lie in speed.json."""


@dataclass(frozen=True)
class Target:
    name: str
    what: str
    sense: Literal[">=", "<=", "<"]
    limit: float
    unit: str
    figure: Callable[[Results], float | None]

    def met(self, measured: float) -> bool:
        match self.sense:
            case ">=":
                return measured >= self.limit
            case "<=":
                return measured <= self.limit
            case "<":
                return measured < self.limit


@dataclass(frozen=True)
class Verdict:
    name: str
    what: str
    target: str
    measured: str
    verdict: Literal["met", "missed", "not measured"]
    reason: str = ""


def judge(results: Results, reasons: Mapping[str, str]) -> list[Verdict]:
    """One line for each target, whatever was measured."""
    verdicts = []
    signs = {">=": "≥", "<=": "≤", "<": "<"}
    for target in TARGETS:
        wanted = f"{signs[target.sense]} {target.limit:g}{target.unit}"
        measured = target.figure(results)
        if measured is None:
            verdicts.append(Verdict(target.name, target.what, wanted, "", "not measured"))
            continue
        met = target.met(measured)
        told = f"{measured:.3g}{target.unit}" if abs(measured) < 1000 else f"{measured:.0f}{target.unit}"
        reason = "" if met else " ".join(reasons.get(target.name, "").split())
        verdicts.append(Verdict(target.name, target.what, wanted, told, "met" if met else "missed", reason))
    return verdicts


def load_reasons() -> dict[str, str]:
    return yaml.safe_load(REASONS.read_text("utf-8")) or {}


def _rows(results: Results, part: str, kind: str | None = None) -> Sequence[Mapping[str, Any]]:
    return [row for row in results.get(part, {}).get("rows", ()) if row["part"] == (kind or part)]


def _ratio(
    part: str, ours: str, theirs: str | Sequence[str], at_once: int, figure: str, kind: str | None = None
) -> Any:
    return lambda results: ratio(_rows(results, part, kind), ours, theirs, at_once, figure)


def _worst_ttft(results: Results) -> float | None:
    """The largest ratio over all levels."""
    rows = _rows(results, "relay")
    levels = sorted({row["at_once"] for row in rows})
    found = [ratio(rows, "relay", "ray-serve-llm", level, "ttft_p50") for level in levels]
    return max((each for each in found if each is not None), default=None)


def _tokens(
    server: str, over: str, turn: str, beneath: str, figure: str, than: str | None = None
) -> Callable[[Results], float | None]:
    """`than`: the other side's figure, where it is not the same."""

    def of(results: Results) -> float | None:
        facts = results.get("tokens", {}).get("facts", {})
        try:
            return round(float(facts[server][turn][figure]) / float(facts[over][beneath][than or figure]), 3)
        except (KeyError, ZeroDivisionError):
            return None

    return of


def _ready(results: Results) -> float | None:
    seconds = results.get("ready", {}).get("facts", {}).get("seconds")
    return float(statistics.median(seconds)) if seconds else None


def _streams(results: Results) -> float | None:
    curve = results.get("scale", {}).get("facts", {}).get("curve")
    if not curve:
        return None
    return float(max((p["streams"] for p in curve if p["added_ms"]["p99"] <= ADDED_MS and not p["failed"]), default=0))


def _added_ttft(results: Results) -> float | None:
    return difference(_rows(results, "relay"), "relay", "vllm", 1, "ttft_p50")


TARGETS: Sequence[Target] = (
    Target("relay-16", "LLM Mode as a plain relay, tokens/s at 16 beside vLLM's server", ">=", 0.9, " ×",
           _ratio("relay", "relay", "vllm", 16, "tokens_s")),
    Target("relay-64", "LLM Mode as a plain relay, tokens/s at 64 beside vLLM's server", ">=", 0.85, " ×",
           _ratio("relay", "relay", "vllm", 64, "tokens_s")),
    Target("relay-ttft", "plain relay, TTFT p50 at 1, beyond vLLM's", "<=", 8, " ms", _added_ttft),
    Target("ray-16", "plain relay, tokens/s at 16 beside Ray Serve LLM", ">=", 1.7, " ×",
           _ratio("relay", "relay", "ray-serve-llm", 16, "tokens_s")),
    Target("ray-64", "plain relay, tokens/s at 64 beside Ray Serve LLM", ">=", 1.7, " ×",
           _ratio("relay", "relay", "ray-serve-llm", 64, "tokens_s")),
    Target("ray-ttft", "plain relay, TTFT p50 beside Ray Serve LLM's, the worst level", "<", 1.0, " ×", _worst_ttft),
    Target("shipped-16", "LLM Mode as shipped, turns/s at 16 beside vLLM and a client that classifies", ">=", 1.4, " ×",
           _ratio("shipped", "shipped", CLIENT, 16, "turns_s")),
    Target("agent-1", "Agent Mode, turn time p50 at 1 beside the research client, equal lengths", "<=", 0.7, " ×",
           _ratio("agent", OURS, RESEARCH, 1, "turn_p50")),
    Target("agent-16", "Agent Mode, turns/s at 16 beside the research client, equal lengths", ">=", 1.3, " ×",
           _ratio("agent", OURS, RESEARCH, 16, "turns_s")),
    Target("tokens-cached", "prompt tokens computed at turn 8 beside the research client", "<=", 0.75, " ×",
           _tokens(OURS, RESEARCH, "8", "8", "computed")),
    Target("tokens-uncached", "prompt tokens computed at turn 8 beside the research client without prefix caching",
           "<=", 0.25, " ×", _tokens(OURS, RESEARCH, "8", "8", "computed", "prompt")),
    Target("tokens-growth", "prompt tokens computed at turn 20 beside turn 5", "<=", 1.1, " ×",
           _tokens(OURS, OURS, "20", "5", "computed")),
    Target("classify-64", "classification over HTTP, texts/s at 64, beside the better peer", ">=", 0.95, " ×",
           _ratio("classify", "shipped", PEERS, 64, "tokens_s")),
    Target("classify-batch", "classification over HTTP, texts/s of one batch of 64 at a time, beside the better peer",
           ">=", 1.0, " ×",
           _ratio("classify", "shipped", PEERS, 1, "tokens_s", "classify-batch")),
    Target("ready", "ready from a warm cache", "<=", 60, " s", _ready),
    Target("streams", "streams of 30 tokens/s through one ingress replica on one core, added p99 ≤ 100 ms", ">=", 300,
           "", _streams),
)  # fmt: skip


def plain_table(results: Results) -> list[list[str]]:
    """LLM Mode's figures as they were, vLLM's always among them: medians of the rounds."""
    table = [
        ["at once", "server", "tokens/s", "TTFT p50, p99 ms", "ITL p50 ms", "turn p50 ms", "CPU s a turn", "errors"]
    ]
    for part in ("relay", "shipped", "agent"):
        rows = _rows(results, part)
        for level in sorted({row["at_once"] for row in rows}):
            for server in dict.fromkeys(row["server"] for row in rows):
                table.append([str(level), named(server), *_cells(rows, server, level)])
    return table


def hits(results: Results) -> str:
    """What was found in the prefix caches with little KV memory and with ample, in a line; no target is set for it."""
    facts = results.get("pressure", {}).get("facts")
    if not facts:
        return ""

    def told(server: str, memory: str) -> str:
        found = facts[memory][server]
        return f"{found['rate']:.0%} of the prompt tokens, {found['computed_a_turn']} computed a turn"

    sides = [
        f"{name} {told(server, 'little')} (with ample memory {told(server, 'ample')})"
        for name, server in (("ours, Agent Mode", OURS), ("the research client", RESEARCH))
    ]
    return (
        f"Prefix-cache hits, {facts['conversations']} conversations in turn, KV memory of {facts['memory_tokens']} "
        f"tokens for a quarter of them: {'; '.join(sides)}."
    )


def gains(results: Results) -> str:
    """What our additions to vLLM's engine do, in a line."""
    rows = _rows(results, "engine")
    faster, sooner = ratio(rows, OURS, BARE, 16, "turns_s"), ratio(rows, OURS, BARE, 1, "turn_p50")
    if faster is None or sooner is None:
        return ""
    return (
        "Agent Mode with what ours adds to vLLM's engine on a CPU, beside it without: "
        f"{faster:.3g} × the turns/s at 16, {sooner:.3g} × the turn time p50 at 1."
    )


def named(server: str) -> str:
    """As tables and plots call it."""
    names = {"relay": "ours, plain relay", "shipped": "ours, as shipped", "even": "ours, Agent Mode"}
    return names.get(server, server)


def _cells(rows: Sequence[Mapping[str, Any]], server: str, level: int) -> list[str]:
    def of(figure: str) -> float:
        return median(rows, server, level, figure) or 0.0

    errors = sum(row["errors"] for row in rows if row["server"] == server and row["at_once"] == level)
    return [
        f"{of('tokens_s'):.0f}",
        f"{of('ttft_p50'):.0f}, {of('ttft_p99'):.0f}",
        f"{of('itl_p50'):.1f}",
        f"{of('turn_p50'):.0f}",
        f"{of('cpu_s_per_turn'):.2f}",
        str(errors),
    ]
