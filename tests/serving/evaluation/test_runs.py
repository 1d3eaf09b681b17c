"""Dialogues held with the real app: what is kept of them, what is not, and how a run goes on."""

import json
import stat
from pathlib import Path

import httpx
import pytest

from psychechat.emotion import Emotion, Group, Label
from psychechat.engines.base import StageName
from psychechat.engines.scripted import ScriptedClassifier, ScriptedGenerator, assessment
from psychechat.evaluation import cards, page, runs, summary
from psychechat.evaluation.dialogue import Ask, Row, hold
from psychechat.evaluation.endpoint import Endpoint
from psychechat.evaluation.seekers import Scripted
from tests.serving.evaluation.conftest import Serving, endpoint

CARD, OTHER = cards.read(["en"]).cards[:2]
COLD = assessment(Emotion(Label(Group.ANGER, 3), 0.99))
GLAD = assessment(Emotion(Label(Group.JOY, 2), 0.99))
HURTING = {"cold": 0.5, "cruel": 0.9}


def says(text: str) -> ScriptedGenerator:
    draft = json.dumps({"phase": "exploration", "strategy": "Ask.", "response": text})
    return ScriptedGenerator({StageName.REPLY: [f"<think>x</think>{text}"], StageName.DRAFT: [draft]})


async def a_row(
    serving: Serving, counselor: ScriptedGenerator | None = None, turns: int = 4, *, words: bool = False
) -> Row:
    """Nobody hinders the counselor; the seeker's classifier hears what is cold in its words."""
    read = ScriptedClassifier(
        {"passed over": COLD, "not listening": COLD, "tired": COLD, "lighter": GLAD, "good that": GLAD}, HURTING
    )
    async with serving(generator=counselor) as reached, serving(classifier=read) as classifier:
        return await hold(Ask(reached, Scripted(classifier), turns, words), CARD, 0, "a session")


@pytest.mark.asyncio
async def test_a_dialogue_alternates_and_its_last_turn_is_the_seekers(serving: Serving) -> None:
    counselor = says("Which warm words would you like to hear?")
    row = await a_row(serving, counselor, words=True)
    assert (row["end"], row["dropped"], len(row["turns"])) == ("turns", None, 4)
    assert [one["role"] for one in row["dialogue"]] == ["seeker", "counselor"] * 3 + ["seeker"]
    assert row["dialogue"][0]["text"] == CARD.monologue
    assert [turn["event"] for turn in row["turns"]] == [None, 1, 2, 3]
    assert [turn["reply"] is None for turn in row["turns"]] == [False, False, False, True]
    assert row["turns"][0]["reply"]["mode"] in ("llm", "agent")
    assert len({call.session_id for *_, call in counselor.prompts}) == 1


@pytest.mark.asyncio
async def test_a_counselor_who_is_cold_is_told_from_one_who_is_not(serving: Serving) -> None:
    kind, cold, cruel = [
        await a_row(serving, says(text), 6)
        for text in ("Which gate is it that you see?", "That is a cold fact.", "What a cruel joke you are.")
    ]
    assert [turn["risk"] for turn in kind["turns"]] == [None, 0, 2, 2, 2, 2], "said twice, it is not heard"
    assert [turn["risk"] for turn in cold["turns"]] == [None, 2, 2, 2, 2, 2]
    assert (cruel["end"], [turn["risk"] for turn in cruel["turns"]]) == ("ended", [None, 4])
    figures = [summary.figures(row)["corrected"]["RLS"] for row in (kind, cold, cruel)]
    assert figures == [8 / 5, 2.0, 4.0]


@pytest.mark.asyncio
async def test_without_a_third_head_nobody_can_rate(serving: Serving) -> None:
    async with serving() as reached:
        row = await hold(Ask(reached, Scripted(reached), 4), CARD, 0, "a session")
    assert row["dropped"] == "classifier: no third head"


@pytest.mark.asyncio
async def test_rows_hold_no_words_unless_they_are_asked_for(serving: Serving) -> None:
    row = await a_row(serving, says("What a canary that is."))
    assert "dialogue" not in row
    kept = json.dumps(row, ensure_ascii=False)
    assert "canary" not in kept
    assert not [line for line in (CARD.monologue, CARD.problem, *(e.event for e in CARD.events)) if line in kept]


@pytest.mark.asyncio
async def test_a_counselor_that_is_down_drops_the_dialogue(serving: Serving) -> None:
    def down(_: httpx.Request) -> httpx.Response:
        return httpx.Response(
            503, json={"error": {"message": "x", "type": "x", "param": None, "code": "engine_unavailable"}}
        )

    async with (
        serving(classifier=ScriptedClassifier(hurting={})) as reached,
        endpoint(httpx.MockTransport(down)) as counselor,
    ):
        row = await hold(Ask(counselor, Scripted(reached), 4), CARD, 0, "a session")
    assert (row["end"], row["dropped"]) == ("dropped", "counselor: 503 engine_unavailable")
    assert summary.by_card([row], "corrected", "EIS") == {}
    assert summary.counts([row], 1)["drop_rate"] == 1.0


@pytest.mark.asyncio
async def test_a_server_without_a_classifier_drops_it_too(serving: Serving) -> None:
    def none(_: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json={"detail": "Not Found"})

    async with serving() as reached, endpoint(httpx.MockTransport(none)) as read:
        row = await hold(Ask(reached, Scripted(read), 4), CARD, 0, "a session")
    assert row["dropped"] == "classifier: 404"


@pytest.mark.asyncio
async def test_and_so_does_one_whose_classifier_says_something_else(serving: Serving) -> None:
    def other(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"data": [{"label": "positive", "probs": [0.9, 0.1]}]})

    async with serving() as reached, endpoint(httpx.MockTransport(other)) as read:
        row = await hold(Ask(reached, Scripted(read), 4), CARD, 0, "a session")
    assert row["dropped"] == "classifier: no classifier"


@pytest.mark.asyncio
async def test_findings_of_another_form_are_none(serving: Serving) -> None:
    chunk = {
        "choices": [{"index": 0, "delta": {"content": "Hello."}, "finish_reason": "stop"}],
        "psychechat": {"risk": "low", "review": [], "guard": ["x"], "mode": "llm"},
    }
    answer = httpx.Response(
        200, headers={"content-type": "text/event-stream"}, text=f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
    )
    async with (
        serving(classifier=ScriptedClassifier(hurting={})) as read,
        endpoint(httpx.MockTransport(lambda _: answer)) as counselor,
    ):
        row = await hold(Ask(counselor, Scripted(read), 2), CARD, 0, "a session")
    reply = row["turns"][0]["reply"]
    assert (reply["mode"], reply["level"], reply["held"], reply["fallback"], reply["hurting"]) == (
        "llm",
        None,
        None,
        None,
        False,
    )


async def run(folder: Path, reached: Endpoint, seeds: int = 2) -> tuple[runs.Kept, list[str]]:
    told: list[str] = []
    kept = runs.begun(folder, {"turns": 3, "judge": "heads"})
    ask = Ask(reached, Scripted(reached), 3)
    await runs.go_on(kept, ask, [CARD, OTHER], seeds, 2, lambda row: told.append(row["card"]))
    return runs.read(folder), told


@pytest.mark.asyncio
async def test_a_run_goes_on_where_it_was_stopped(serving: Serving, tmp_path: Path) -> None:
    async with serving(classifier=ScriptedClassifier(hurting={})) as reached:
        kept, told = await run(tmp_path / "run", reached)
        assert len(told) == len(kept.rows) == 4
        rows = tmp_path / "run" / runs.ROWS
        first, second, *_ = rows.read_text("utf-8").splitlines()
        dropped = json.dumps(json.loads(second) | {"end": "dropped", "dropped": "counselor: connection"})
        rows.write_text(f'{first}\n{dropped}\n{{"card": "cut o', "utf-8")
        kept, told = await run(tmp_path / "run", reached)
    assert len(told) == 3, "one that was dropped, and two that were not there"
    assert len(kept.rows) == 4
    assert {(row["card"], row["seed"]) for row in kept.rows} == {(c.id, seed) for c in (CARD, OTHER) for seed in (0, 1)}
    assert not [row for row in kept.rows if row["end"] == "dropped"]
    assert stat.S_IMODE(rows.stat().st_mode) == 0o600


@pytest.mark.asyncio
async def test_a_full_disk_ends_a_run_by_its_own_error(serving: Serving, tmp_path: Path) -> None:
    (tmp_path / runs.ROWS).symlink_to("/dev/full")
    async with serving(classifier=ScriptedClassifier(hurting={})) as reached:
        with pytest.raises(OSError, match="No space left"):
            await run(tmp_path, reached, 1)


def test_a_folder_of_another_run_is_left_alone(tmp_path: Path) -> None:
    runs.begun(tmp_path / "run", {"turns": 3})
    with pytest.raises(runs.OtherRun, match="with other judge, turns"):
        runs.begun(tmp_path / "run", {"turns": 4, "judge": "heads"})
    with pytest.raises(runs.OtherRun, match="holds no run"):
        runs.read(tmp_path / "nothing")


@pytest.mark.asyncio
async def test_the_page_has_figures_and_no_words(serving: Serving) -> None:
    rows = [await a_row(serving, says("What a canary that is."), 3, words=True)]
    assert "canary" in json.dumps(rows), "the rows of --keep-dialogues"
    about = {"counselor": {"model": "<b>bold</b>"}, "cards": ["en"], "turns": 3, "judge": "heads", "seeker": None}
    drawn = page.render(about, rows, summary.counts(rows, 1), broken=["EIS is <low>"])
    assert not [line["text"] for line in rows[0]["dialogue"] if line["text"] in drawn]
    assert "&lt;b&gt;bold" in drawn
    assert "<b>bold" not in drawn
    assert "EIS is &lt;low&gt;" in drawn
    assert "They are no measure of one" in drawn
    assert "<script" not in drawn
    assert drawn.count("<svg") == drawn.count("</svg>") == 5


def rows_of(*valences: int, card: str = "a") -> Row:
    turns: list[Row] = [
        {"valence": v, "risk": 1, "goals": [], "says": True, "tries": 1, "reply": None} for v in valences
    ]
    return {"card": card, "start": 0, "goals": 2, "end": "turns", "dropped": None, "turns": turns}


def test_limits_are_broken_by_whole_intervals_alone() -> None:
    good = [rows_of(0, 4, card=str(n)) for n in range(6)]
    bad = [rows_of(0, -2, card=str(n)) for n in range(6)]
    mixed = [rows_of(0, 8 * (n % 2) - 3, card=str(n)) for n in range(6)]
    rules = summary.Limits(worse_by={"EIS": 1.0}, at_least={"EIS": 2.0}, cards=6)

    def broken(ours: list[Row], theirs: list[Row]) -> list[str]:
        found, beside = summary.estimates(ours)["corrected"], summary.differences(ours, theirs)["corrected"]
        return summary.broken(rules, found, beside, summary.counts(ours, 6), 6)

    assert broken(good, good) == []
    assert len(broken(bad, good)) == 2
    fewer = "EIS is compared over {} cards, and 6 are asked for"
    assert broken(good, good[:5]) == [fewer.format(5)]
    assert broken(good, []) == [fewer.format(0)]
    assert broken(good, [row | {"end": "dropped"} for row in good]) == [fewer.format(0)]
    ended = [rows_of(0, card=str(n)) for n in range(6)]
    assert broken(ended, good) == ["nothing was compared with the baseline: EIS could not be told"]
    assert broken([*good[:5], ended[5]], good) == ["EIS is told by 5 cards, and 6 are asked for", fewer.format(5)]
    assert broken(mixed, mixed) == []
    assert broken(good, bad) == []


def test_an_empty_run_passes_no_limits() -> None:
    found = summary.estimates([])["corrected"]
    assert summary.broken(summary.Limits(), found, None, summary.counts([], 4), 0) == [
        "0 cards were held to the end, and 1 are asked for"
    ]


def test_limits_name_what_is_wrong_in_them(tmp_path: Path) -> None:
    file = tmp_path / "limits.yaml"
    file.write_text("at_least: {EIS: 1}\nworst: 3\n", "utf-8")
    with pytest.raises(summary.BadLimits, match="worst"):
        summary.limits(file)
    file.write_text("at_least: {XXX: 1}\n", "utf-8")
    with pytest.raises(summary.BadLimits, match=r"at_least\.XXX"):
        summary.limits(file)
