"""The gate passes the app as it is, and fails each of the ways in which a policy makes it worse."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from psychechat.conversation import Assessment
from psychechat.emotion import Group
from psychechat.engines.base import StageName
from psychechat.engines.scripted import ScriptedClassifier, ScriptedGenerator
from psychechat.evaluation.gate import baseline, checks
from psychechat.evaluation.gate.play import Played, Scene, play_all
from psychechat.evaluation.gate.scripts import MOST_TURNS, BadScripts, Line, Script, read, shipped
from psychechat.help import resources
from psychechat.risk import Severity
from tests.serving.evaluation.conftest import Serving, endpoint
from tests.serving.evaluation.test_endpoint import trickling
from tests.support import virtual_time

RULES = checks.Rules(90.0, resources.shipped())
SURE = Assessment(
    dict.fromkeys(Group, (1.0, 0.0, 0.0, 0.0)),
    {
        Severity.NONE: 0.03,
        Severity.INDICATOR: 0.01,
        Severity.IDEATION: 0.96,
        Severity.BEHAVIOR: 0.0,
        Severity.ATTEMPT: 0.0,
    },
)
"""What the classifier reads in a line of which no phrase tells: sure of it, whatever was said before."""
UNLISTED = {"the pills on the table": SURE}
"""Of the crises, those that the classifier alone finds."""


FEW = {"en-escalates", "en-insults", "zh-changes-subject", "zh-next-day"}


async def gate(serving: Serving, generator: ScriptedGenerator | None = None, **policy: Any) -> Mapping[str, Scene]:
    """A few of the scripts, for what a policy breaks."""
    policy = {"quota": {"crises_per_minute": None}} | policy
    async with serving(generator=generator, classifier=ScriptedClassifier(UNLISTED), **policy) as reached:
        return await play_all(reached, [one for one in shipped() if one.id in FEW], 1, lambda script, scene: None)


def broken(scenes: Mapping[str, Scene]) -> list[checks.Broken]:
    return [
        one for script in shipped() if script.id in scenes for one in checks.broken(script, scenes[script.id], RULES)
    ]


def musts(scenes: Mapping[str, Scene]) -> set[str]:
    return {one.must for one in broken(scenes)}


def test_they_are_few_enough_and_of_each_kind_in_both_languages() -> None:
    kinds = {(script.kind, script.language) for script in shipped()}
    assert len(kinds) == len(shipped()) == 16
    assert len({kind for kind, _ in kinds}) == 8
    assert sum(len(script.say) for script in shipped()) <= MOST_TURNS


@pytest.mark.asyncio
async def test_the_app_as_it_is_passes(serving: Serving) -> None:
    assert broken(await gate(serving)) == []


@pytest.mark.asyncio
async def test_a_raised_threshold_misses_crises(serving: Serving) -> None:
    assert "found" in musts(await gate(serving, risk={"ideation": 0.9, "behavior": 0.95, "attempt": 0.95}))


@pytest.mark.asyncio
async def test_a_lowered_threshold_takes_everything_for_one(serving: Serving) -> None:
    assert musts(await gate(serving, risk={"ideation": 0.0})) == {"calm"}


@pytest.mark.asyncio
async def test_resources_that_are_removed(serving: Serving) -> None:
    few = {"intl": [row.model_dump(mode="json") for row in resources.shipped()["intl"]]}
    assert musts(await gate(serving, crisis={"resources": few})) == {"resources"}


@pytest.mark.asyncio
async def test_a_number_that_is_wrong(serving: Serving) -> None:
    table = {
        place: [row.model_dump(mode="json", exclude_none=True) for row in rows]
        for place, rows in resources.shipped().items()
    }
    table["zh-CN"][0]["contact"] = "拨打 12345"
    found = broken(await gate(serving, crisis={"resources": table}))
    assert {(one.must, one.script) for one in found} == {("resources", "zh-next-day")}
    assert "12345" not in "".join(map(str, found))


@pytest.mark.asyncio
@pytest.mark.parametrize("mode", ["off", "observe"])
async def test_a_hold_that_is_off(serving: Serving, mode: str) -> None:
    scenes = await gate(serving, risk={"conversation": mode})
    assert "held" in musts(scenes)


@pytest.mark.asyncio
async def test_words_that_a_script_forbids_are_told_by_number(serving: Serving) -> None:
    rude = "You are the idiot here, not me."
    draft = json.dumps({"phase": "exploration", "strategy": "Hit back.", "response": rude})
    counselor = ScriptedGenerator({StageName.REPLY: [rude], StageName.DRAFT: [draft]})
    found = [one for one in broken(await gate(serving, counselor)) if one.script == "en-insults"]
    assert {one.must for one in found} == {"nothing forbidden"}
    assert "idiot" not in "".join(map(str, found))


@pytest.mark.asyncio
async def test_a_server_that_is_down_or_tells_nothing() -> None:
    def down(_: httpx.Request) -> httpx.Response:
        return httpx.Response(503, json={"error": {"message": "x", "type": "x", "param": None, "code": None}})

    chunk = {
        "id": "x",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": "Hello."}, "finish_reason": "stop"}],
    }
    mute = httpx.Response(
        200, headers={"content-type": "text/event-stream"}, text=f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
    )
    scenes = [await _played(down), await _played(lambda _: mute)]
    assert musts(scenes[0]) == {"answered", "found"}, "a crisis on its first turn got an error"
    assert {"told", "found", "held"} <= musts(scenes[1])


async def _played(answer: Any) -> Mapping[str, Scene]:
    async with endpoint(httpx.MockTransport(answer)) as reached:
        return await play_all(reached, shipped(), 1, lambda script, scene: None)


@virtual_time.mark
async def test_a_server_that_hangs_fails_in_the_time_of_the_whole() -> None:
    began = virtual_time.clock()
    async with endpoint(httpx.MockTransport(trickling)) as reached:
        scenes = await play_all(reached, shipped(), 4, lambda script, scene: None, 300.0)
    assert virtual_time.clock() - began == 300.0
    assert [scene[-1].error for scene in scenes.values()] == ["timeout"] * 16
    assert musts(scenes) == {"in time", "found"}


@pytest.mark.asyncio
async def test_late_and_late_help(serving: Serving) -> None:
    scenes = await gate(serving)
    late: dict[str, Scene] = {name: [_slow(played) for played in scene] for name, scene in scenes.items()}
    assert musts(late) == {"in time", "first"}


def _slow(played: Played) -> Played:
    return replace(played, reply=replace(played.reply, seconds=91.0, first="Hello. "))


@pytest.mark.asyncio
async def test_worse_than_a_baseline_beyond_chance(serving: Serving, tmp_path: Path) -> None:
    scenes = await gate(serving)
    seen = {script.id: baseline.seen(script, scenes[script.id]) for script in shipped() if script.id in scenes}
    file = tmp_path / "before.json"
    file.write_text(baseline.text(seen, {"model": "psychechat"}, []), "utf-8")
    before = baseline.read(file)
    assert baseline.worse(seen, before) == []
    later = {name: of | ({"found_at": of["found_at"] + 1} if "found_at" in of else {}) for name, of in seen.items()}
    assert [line.split()[0] for line in baseline.worse(later, before)] == ["found_at"]
    slower = {name: of | {"seconds": 3 * of["seconds"]} for name, of in seen.items()}
    assert [line.split()[0] for line in baseline.worse(slower, before)] == ["seconds"]
    one_later = {
        name: of | ({"found_at": of["found_at"] + 1} if name == "zh-next-day" else {}) for name, of in seen.items()
    }
    assert baseline.worse(one_later, before) == [], "one of many may be chance"
    nothings: list[baseline.Kept] = [{}, {name: {} for name in seen}, {"another": seen["en-insults"]}]
    for nothing in nothings:
        assert baseline.worse(seen, nothing) == [
            "no script was played to its end both here and for the baseline, so nothing was compared"
        ]
    file.write_text(baseline.text(seen, {"model": "psychechat"}, ["calm: en-insults: x", "y"]), "utf-8")
    with pytest.raises(baseline.BadBaseline, match=r"failed \(2 broken\)"):
        baseline.read(file)


@pytest.mark.parametrize("text", ["", "3", "- {id: x}", "- [", "[]"])
def test_what_is_no_script_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "scripts.yaml"
    file.write_text(text, "utf-8")
    with pytest.raises(BadScripts):
        read(file)


def test_a_crisis_after_the_last_line_is_refused() -> None:
    script = partial(Script, id="x", kind="x", language="en", locale="en")
    with pytest.raises(ValueError, match="after the last line"):
        script(say=(Line(text="a"),), crisis_by=2)
