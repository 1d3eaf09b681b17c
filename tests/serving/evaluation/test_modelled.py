"""The seeker that a model plays: what is sent to it, and what becomes of what it writes."""

import json
from typing import Any

import httpx
import pytest

from psychechat.evaluation import cards
from psychechat.evaluation.seekers import Modelled, Spoken, SpokenFor
from psychechat.evaluation.seekers.modelled import TRIES
from tests.serving.evaluation.conftest import endpoint

CARD = cards.read(["en"]).cards[0]
GOOD = {"emotion": ["worried", "down"], "event": 1, "goals": [], "risk": 0, "response": "It's the gates."}


def scripted(*answers: str | int) -> tuple[httpx.MockTransport, list[dict[str, Any]]]:
    """A model that writes these, one after the other, the last one for ever; a number is an error of this status."""
    asked: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content))
        text = answers[min(len(asked), len(answers)) - 1]
        if isinstance(text, int):
            return httpx.Response(text, json={"error": {"message": "no", "type": "x", "param": None, "code": None}})
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        body = {"id": "x", "object": "chat.completion", "created": 0, "model": "s", "choices": [choice]}
        return httpx.Response(200, json=body)

    return httpx.MockTransport(answer), asked


async def speak(
    transport: httpx.MockTransport, *before: Spoken, replies: tuple[str, ...] = (), seed: int = 3
) -> Spoken:
    async with endpoint(transport, "seeker") as model:
        return await Modelled(model).speak(CARD, before, replies, seed)


def written(**change: object) -> str:
    return json.dumps(GOOD | change)


@pytest.mark.asyncio
async def test_it_is_told_who_it_is_and_answers_in_a_schema() -> None:
    transport, asked = scripted(written())
    spoken = await speak(transport)
    assert (spoken.text, spoken.ends, spoken.emotions, spoken.event) == (
        "It's the gates.",
        False,
        ("worried", "down"),
        1,
    )
    assert (spoken.rating.valence, spoken.rating.risk, spoken.rating.goals) == (-2, 0, ())
    system = asked[0]["messages"][0]["content"]
    for told in (CARD.monologue, *CARD.goals, *(event.event for event in CARD.events), "annoyed < angry < furious"):
        assert json.dumps(told, ensure_ascii=False).strip('"') in system
    assert CARD.id not in system
    assert asked[0]["response_format"]["json_schema"]["schema"]["properties"]["risk"]["enum"] == [0, 1, 2, 3, 4]
    assert (asked[0]["temperature"], asked[0]["seed"]) == (0, 3)


@pytest.mark.asyncio
async def test_its_history_is_its_own_answers_and_the_counselors_words() -> None:
    transport, asked = scripted(written())
    first = await speak(transport)
    await speak(transport, first, replies=("What about them?",))
    roles = [message["role"] for message in asked[1]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert json.loads(asked[1]["messages"][2]["content"]) == GOOD
    assert asked[1]["messages"][3]["content"] == "What about them?"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "bad",
    [
        "I would rather not.",
        written(emotion=["calm", "happy"]),  # of one group
        written(emotion=["gloomy"]),
        written(emotion=[]),
        written(risk=5),
        written(response=""),
        written(response="  "),
        '{"emotion": ["down"]',
    ],
)
async def test_no_valid_answer_is_asked_for_again_and_warmer(bad: str) -> None:
    transport, asked = scripted(bad, bad, f"Here it is:\n```json\n{written()}\n```")
    spoken = await speak(transport)
    assert spoken.tries == 3
    assert [one["temperature"] for one in asked] == [0, 0.1, 0.2]
    assert len({one["seed"] for one in asked}) == 3


@pytest.mark.asyncio
async def test_without_structured_output_the_server_is_asked_without() -> None:
    transport, asked = scripted(400, written())
    spoken = await speak(transport)
    assert spoken.tries == 1
    assert ["response_format" in one for one in asked] == [True, False]


@pytest.mark.asyncio
async def test_the_end_is_cut_from_the_words() -> None:
    transport, _ = scripted(written(response="Thank you. END"))
    spoken = await speak(transport)
    assert (spoken.text, spoken.ends, spoken.rating.says) == ("Thank you.", True, True)
    transport, _ = scripted(written(response="END"))
    spoken = await speak(transport)
    assert (spoken.text, spoken.ends, spoken.rating.says) == ("", True, False)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answers", "kind", "times"),
    [(("never",), "seeker: no valid answer", TRIES), ((503,), "seeker: 503", 1), ((400,), "seeker: 400", 2)],
)
async def test_a_seeker_that_cannot_speak_says_why(answers: tuple[str | int, ...], kind: str, times: int) -> None:
    transport, asked = scripted(*answers)
    with pytest.raises(SpokenFor) as told:
        await speak(transport)
    assert told.value.kind == kind
    assert len(asked) == times
