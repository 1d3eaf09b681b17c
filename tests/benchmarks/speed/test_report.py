"""Targets are judged line by line, what is missed is explained, and parts are merged."""

import json
from pathlib import Path
from typing import Any

from benchmarks.speed import report
from benchmarks.speed.driver import Load
from benchmarks.speed.measure import row
from benchmarks.speed.parts import Found
from benchmarks.speed.targets import TARGETS, judge, load_reasons
from benchmarks.speed.wire import Answer


def relay(tokens: dict[str, int], at_once: int = 16) -> Found:
    """One round in which each server wrote so many tokens a second."""
    return Found(
        [
            row("relay", server, at_once, 1, Load((Answer(None, [0.1], seconds=0.2, completion_tokens=count),), 1.0))
            for server, count in tokens.items()
        ]
    )


def verdicts(parts: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    reasons = {"relay-16": "The ingress's core is full."}
    return {v.name: (v.measured, v.verdict, v.reason) for v in judge(parts, reasons)}


def test_each_target_is_judged() -> None:
    parts = report.merged({}, "relay", relay({"vllm": 100, "relay": 80, "ray-serve-llm": 40}), "make bench")
    found = verdicts(parts)
    assert found["relay-16"] == ("0.8 ×", "missed", "The ingress's core is full.")
    assert found["ray-16"] == ("2 ×", "met", "")
    assert found["relay-64"] == ("", "not measured", "")
    assert list(found) == [target.name for target in TARGETS]


def test_facts_are_judged_too() -> None:
    parts = {
        "ready": {"facts": {"seconds": [95.0, 40.0, 55.0]}},
        "tokens": {
            "facts": {
                "even": {"5": {"computed": 100}, "8": {"computed": 70, "prompt": 900}, "20": {"computed": 140}},
                "research client": {"8": {"computed": 100, "prompt": 250}},
            }
        },
        "scale": {
            "facts": {
                "curve": [
                    {"streams": 200, "added_ms": {"p99": 40}, "failed": 0},
                    {"streams": 300, "added_ms": {"p99": 90}, "failed": 1},
                    {"streams": 400, "added_ms": {"p99": 900}, "failed": 0},
                ]
            }
        },
    }
    found = verdicts(parts)
    assert found["ready"][:2] == ("55 s", "met")
    assert found["tokens-cached"][:2] == ("0.7 ×", "met")
    assert found["tokens-uncached"][:2] == ("0.28 ×", "missed")
    assert found["tokens-growth"][:2] == ("1.4 ×", "missed")
    assert found["streams"][:2] == ("200", "missed")  # a stream that broke off is none that was carried


def test_classification_is_held_against_the_better_peer() -> None:
    rows = [
        {"part": part, "server": server, "at_once": at_once, "round": 1, "tokens_s": texts}
        for part, at_once, peers in (("classify", 64, (20.0, 25.0)), ("classify-batch", 1, (40.0, 30.0)))
        for server, texts in zip(("shipped", "vllm-classify", "sentence-transformers"), (20.0, *peers), strict=True)
    ]
    found = verdicts({"classify": {"rows": rows}})
    assert found["classify-64"][:2] == ("0.8 ×", "missed")
    assert found["classify-batch"][:2] == ("0.5 ×", "missed")
    found = verdicts({"classify": {"rows": [row for row in rows if row["server"] != "sentence-transformers"]}})
    assert found["classify-64"][1] == "not measured"  # one peer is not the best of two


def test_prefix_cache_hits_are_told_under_the_table() -> None:
    def hits(ours: float, theirs: float) -> dict[str, Any]:
        rates = {"even": ours, "research client": theirs}
        return {server: {"rate": rate, "computed_a_turn": 300, "of": 9} for server, rate in rates.items()}

    facts = {"conversations": 9, "memory_tokens": 3072, "little": hits(0.8, 0.4), "ample": hits(0.9, 0.7)}
    text = report.markdown({"pressure": {"facts": facts}})
    last = text.splitlines()[-1]
    assert "9 conversations in turn, KV memory of 3072 tokens for a quarter" in last
    assert "Agent Mode 80% of the prompt tokens, 300 computed a turn (with ample memory 90%" in last
    assert "client 40%" in last
    assert "Prefix-cache" not in report.markdown({})


def test_what_our_engine_adds_is_told_under_the_table() -> None:
    def row(server: str, at_once: int, turns: float, seconds: float) -> dict[str, Any]:
        return {
            "part": "engine",
            "server": server,
            "at_once": at_once,
            "round": 1,
            "turns_s": turns,
            "turn_p50": seconds,
        }

    rows = [
        row("even", 16, 6.0, 0),
        row("even-bare", 16, 4.0, 0),
        row("even", 1, 0, 450.0),
        row("even-bare", 1, 0, 600.0),
    ]
    text = report.markdown({"engine": {"rows": rows}})
    assert "1.5 × the turns/s at 16, 0.75 × the turn time p50 at 1" in text.splitlines()[-1]
    assert "our engine" not in report.markdown({"engine": {"rows": rows[:2]}})


def test_what_is_missed_is_explained_under_the_table() -> None:
    """A reason in a cell made the table unreadable; one without a reason must not look explained."""
    parts = report.merged({}, "relay", relay({"vllm": 100, "relay": 70, "ray-serve-llm": 65}), "make bench")
    text = report.markdown(parts | report.merged({}, "ready", Found(facts={"seconds": [60.0]}), "make bench"))
    assert "| plain relay, tokens/s at 16 beside Ray Serve LLM | ≥ 1.7 × | 1.08 × | missed |" in text
    assert "- **plain relay, TTFT p50 beside Ray Serve LLM's, the worst level**, 1 ×: not known yet." in text
    assert "| ready from a warm cache | ≤ 60 s | 60 s | met |" in text
    assert "- **ready from a warm cache**" not in text


def test_every_reason_is_of_a_target() -> None:
    assert set(load_reasons()) <= {target.name for target in TARGETS}


def test_a_part_that_is_measured_again_replaces_itself_alone(tmp_path: Path) -> None:
    parts = report.merged({}, "relay", relay({"vllm": 100, "relay": 80}), "first")
    parts = report.merged(parts, "ready", Found(facts={"seconds": [60.0]}), "first")
    report.write(tmp_path, parts)
    again = report.merged(report.read(tmp_path), "relay", relay({"vllm": 100, "relay": 90}), "second")
    report.write(tmp_path, again)
    written = json.loads((tmp_path / "speed.json").read_text())
    assert [written["parts"][name]["command"] for name in ("relay", "ready")] == ["second", "first"]
    assert {t["name"]: t["measured"] for t in written["targets"]}["relay-16"] == "0.9 ×"
    assert (tmp_path / "speed.csv").read_text().count("\n") == 3
    assert (tmp_path / "speed-relay.png").stat().st_size > 0
