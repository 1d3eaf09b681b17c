"""What one key's requests cost the others, by the benchmark's own clients against answers that are fixed."""

import asyncio
import json
from collections import Counter, defaultdict
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from aiohttp import web
from rich.console import Console

from benchmarks import tenants
from benchmarks.overload.client import Ended
from benchmarks.tenants import (
    BESIDE,
    BODIES,
    CASES,
    CRISIS_WORDS,
    LOUD,
    OTHERS,
    TIMES,
    beside,
    bodies,
    measure,
    missed,
    told,
    with_keys,
)
from psychechat.config import Settings
from psychechat_ray.configurations import load
from tests.benchmarks.overload.answers import reply, serving
from tests.benchmarks.overload.test_summary import CRISIS, GOOD, REFUSED
from tests.support.messages import ALARMING, VEILED

CRIES = (*ALARMING["en"], *ALARMING["zh"], *VEILED)


@pytest.mark.parametrize(("each", "most"), BODIES.values(), ids=BODIES)
def test_a_body_is_as_long_as_it_should_be_and_ends_with_one_word(each: int, most: int) -> None:
    for body in bodies(each, most):
        assert 0.8 * most < len(body) <= most
        messages = json.loads(body)["messages"]
        assert [message["role"] for message in messages[-3:]] == ["user", "assistant", "user"]
        assert messages[-1]["content"] == "hi"
        assert max(len(message["content"]) for message in messages) <= each
        assert len(messages) < 512


def test_every_key_may_enter_and_the_policy_is_as_it_was() -> None:
    keys = {name: f"key of {name}" for name in (LOUD, *OTHERS)}
    settings = Settings.model_validate(with_keys("demo-cpu", keys))
    assert set(settings.auth.all_keys()) == {LOUD, *OTHERS}
    assert settings.policy == load("demo-cpu").policy
    assert settings.policy.quota.crises_per_minute == 10


@pytest.mark.asyncio
async def test_measured_from_one_end_to_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key says what it should, at the pace that it should."""
    for name, value in (("WARM_SECONDS", 0.1), ("CRISIS_TURNS", 12), ("CRISIS_EVERY_SECONDS", 0.1)):
        monkeypatch.setattr(tenants, name, value)
    keys = {name: f"key-{name}" for name in (LOUD, *OTHERS)}
    of = {key: name for name, key in keys.items()}
    said: defaultdict[str, Counter[str]] = defaultdict(Counter)

    async def chat(request: web.Request) -> web.Response:
        name = of[request.headers["authorization"].removeprefix("Bearer ")]
        text = (await request.json())["messages"][-1]["content"]
        kind = "word" if text.startswith(CRISIS_WORDS) else "cry" if text.startswith(CRIES) else text[:2]
        said[name][kind if kind in ("word", "cry", "hi") else "line"] += 1
        await asyncio.sleep(0.01)  # real time: all are asked over sockets
        if text == "hi":
            return web.Response(status=400)
        return web.Response(body=reply("crisis" if kind == "cry" else "low_risk"))

    kept: dict[str, Any] = {}
    async with serving(chat) as url:
        result = await measure(url, keys, 2.0, 20.0, Console(file=StringIO()), kept.__setitem__)
    assert kept == result
    assert set(said[LOUD]) == {"word", "hi"}
    assert 2 <= said[LOUD]["word"] <= 16  # 200 a minute
    assert said[LOUD]["hi"] > 20
    assert all(said[name]["cry"] >= 4 for name in OTHERS)
    assert said[OTHERS[0]]["line"] > 30
    assert set(result["large_messages"]["bodies"]) == {"400"}
    assert [result[case]["crises"]["not_answered"] for case in CASES] == [0] * len(CASES)
    assert result["crisis_words"]["ordinary"]["answered"] == 1.0
    assert set(result["times_alone"]) == set(BESIDE)


def test_a_crisis_is_told_of_by_its_times_and_only_where_it_was_known() -> None:
    seen = [replace(CRISIS, first_words=words, own_words=words + 1, seconds=words + 2) for words in (1.0, 3.0)]
    unseen = replace(GOOD, kind="veiled", first_words=50.0, seconds=50.0)
    found = told([*seen, unseen, replace(REFUSED, kind="phrase")])["crises"]
    assert (found["turns"], found["not_answered"], found["missed"]) == (4, 1, 1)
    assert [found[f"{name}_s"].get("p50") for name in TIMES] == [2.0, None, 3.0, 4.0]
    slow = [replace(one, seconds=9.0) for one in seen]
    assert beside([*slow, unseen], seen)["whole"]["p50"] == 2.25


def fine() -> dict[str, Any]:
    """A result in which nothing is wrong."""
    crises: list[Ended] = [CRISIS, replace(CRISIS, kind="veiled")] * 15
    ordinary = [*[GOOD] * 9, REFUSED]
    return {
        **{case: told(crises, ordinary) for case in CASES},
        "times_alone": {case: {name: {"p50": 2.0} for name in TIMES} for case in BESIDE},
    }


def test_a_good_run_misses_nothing() -> None:
    assert missed(fine()) == []


def test_each_bound_is_kept() -> None:
    for case in BESIDE:
        for name in TIMES:
            for found in ({"p50": 2.01}, {}):
                worse = fine()
                worse["times_alone"][case][name] = found
                assert len(missed(worse)) == 1
    for case in CASES:
        unanswered = told([replace(REFUSED, kind="veiled"), *[CRISIS] * 29], [GOOD])
        assert missed(fine() | {case: unanswered}) == [f"1 crises had no answer: {case}"]
    assert missed(fine() | {"alone": told([CRISIS] * 9)}) == ["only 9 crises were asked in 180 s: alone"]
    for case in BESIDE:
        silenced = told([*[replace(CRISIS, safe_template=True)] * 5, *[CRISIS] * 25], [GOOD])
        assert missed(fine() | {case: silenced}) == [
            f"17% of the crises got fixed words alone, without the loud key 0%: {case}"
        ]
        assert missed(fine() | {case: silenced, "alone": silenced}) == []
    answered = told([CRISIS] * 24, [*[GOOD] * 8, *[REFUSED] * 2])
    assert missed(fine() | {"crisis_words": answered}) == [
        "only 0.8 of the others' ordinary turns were answered: crisis_words"
    ]
