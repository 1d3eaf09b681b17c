"""`psychechat.stages`: what each stage made, where the policy shows it, and to whom."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest
from pydantic import ValidationError

from psychechat.api.http.auth import Keyring
from psychechat.config import ApiKey, Auth
from psychechat.conversation import Assessment
from psychechat.emotion import Group
from psychechat.engines.base import Call, StageName
from psychechat.engines.scripted import ScriptedClassifier, ScriptedGenerator
from psychechat.errors import EngineUnavailable
from tests.serving.api.http.test_auth import bearer, hashes

Serving = Callable[..., AbstractContextManager[Any]]

SAD, GRAVE = "I am so sad", "I want to kill myself tonight"
REFUSED_DRAFT = "Others have it worse than you."
KEYS = {"page": "psy-page", "desk": "psy-desk", "developer": "psy-developer", "tasks": "psy-tasks"}
TITLE = {"model": "psychechat-tasks", "messages": [{"role": "user", "content": f"A title for: {SAD}"}]}


def refusing() -> ScriptedGenerator:
    """The first draft is refused for its second reaction, the next one passes."""
    verdicts = [(1, "Goes on.", True), (2, "Feels small.", False), (3, "Goes on.", True)]
    refusal = json.dumps(
        {
            "safety_analysis": [{"uid": uid, "analysis": said, "pass": passed} for uid, said, passed in verdicts],
            "pass_flag": False,
            "suggestion": {"emotion": "Stay with the sadness.", "safety": "Compare nobody."},
        }
    )
    passing = refusal.replace("false", "true").replace("Stay with the sadness.", "").replace("Compare nobody.", "")
    drafts = [REFUSED_DRAFT, "What makes today so heavy?"]
    return ScriptedGenerator(
        {
            StageName.DRAFT: [
                json.dumps({"phase": "insight", "strategy": "Compare.", "response": draft}) for draft in drafts
            ],
            StageName.REVIEW: [*[refusal] * 3, passing],  # a request for each reaction
        }
    )


class Gone(ScriptedClassifier):
    async def classify(self, utterances: Sequence[str], call: Call) -> list[Assessment]:
        raise EngineUnavailable("gone")


def ask(served: Any, text: str = SAD, model: str = "psychechat-agent", key: str = "", **more: Any) -> Any:
    """The `psychechat` object, whole or of a stream's chunks."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    answer = served.http.post("/v1/chat/completions", json=body, headers=bearer(key) if key else {})
    assert answer.status_code == 200
    if not more.get("stream"):
        return answer.json()["psychechat"]
    chunks = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    [told] = [chunk["psychechat"] for chunk in chunks if "psychechat" in chunk]
    assert "psychechat" in chunks[-1]
    return told


@pytest.mark.parametrize("stream", [False, True])
def test_each_round_shows_what_was_written_imagined_and_judged(serving: Serving, stream: bool) -> None:
    with serving(refusing(), show_stages=True, limits={"rounds": 2}) as served:
        told = ask(served, stream=stream)
    stages = told["stages"]
    assert set(stages) == {"groups", "analysis", "rounds"}
    assert stages["groups"]["sadness"] == {"absent": 0.1, "low": 0.0, "mid": 0.9, "high": 0.0}
    assert set(stages["groups"]) == set(Group)
    assert stages["analysis"] == {
        "labels": ["worried"],
        "analysis": "The seeker speaks of a worry.",
        "recent_change": "",
        "overall_trend": "",
        "shift_analysis": "",
    }
    first, second = stages["rounds"]
    assert first["draft"] == {"phase": "insight", "strategy": "Compare.", "response": REFUSED_DRAFT}
    assert first["reactions"][1] == {
        "type": "silent",
        "response": "...",
        "verdict": {"analysis": "Feels small.", "passed": False},
    }
    assert first["review"] == {
        "passed": False,
        "emotional_suggestion": "Stay with the sadness.",
        "safety_suggestion": "Compare nobody.",
    }
    assert second["review"]["passed"]
    assert told["review"]["rounds"] == 2


@pytest.mark.parametrize("text", [SAD, GRAVE])
def test_llm_mode_has_the_groups_alone(serving: Serving, text: str) -> None:
    with serving(show_stages=True) as served:
        stages = ask(served, text, "psychechat-llm")["stages"]
    assert stages["groups"]
    assert (stages["analysis"], stages["rounds"]) == (None, [])


def test_a_crisis_shows_what_was_written_for_it(serving: Serving) -> None:
    with serving(show_stages=True) as served:
        told = ask(served, GRAVE, "psychechat")
    assert told["reason"] == "crisis"
    assert told["stages"]["rounds"][0]["draft"]["response"].startswith("Thank you for telling me.")


def test_drafts_that_were_all_refused_are_shown_where_fixed_words_answer(serving: Serving) -> None:
    with serving(refusing(), show_stages=True, limits={"rounds": 1}) as served:
        told = ask(served)
    assert told["review"]["fallback"]
    assert [made["draft"]["response"] for made in told["stages"]["rounds"]] == [REFUSED_DRAFT]


@pytest.mark.parametrize("broken", [StageName.EMOTION, StageName.DRAFT, StageName.SIMULATION, StageName.REVIEW])
@pytest.mark.parametrize("text", [SAD, GRAVE])
def test_agent_mode_that_failed_half_way_shows_no_half(serving: Serving, broken: StageName, text: str) -> None:
    """At low risk LLM Mode answers in its place, which fails as well; in a crisis fixed words do."""
    table = {broken: ["no JSON"], StageName.REPLY: ["\ufffd\ufffd\ufffd"]}
    with serving(ScriptedGenerator(table), show_stages=True) as served:
        told = ask(served, text)
    assert told["review"]["fallback"]
    assert (told["stages"]["analysis"], told["stages"]["rounds"]) == (None, [])
    assert told["stages"]["groups"]


def test_without_the_classifier_there_are_no_groups(serving: Serving) -> None:
    with serving(show_stages=True) as served:
        served.pipeline.classifier = Gone()
        assert ask(served)["stages"]["groups"] is None


def test_a_background_task_has_none(serving: Serving) -> None:
    with serving(show_stages=True, tasks={"model": "psychechat-tasks"}) as served:
        told = served.http.post("/v1/chat/completions", json=TITLE).json()["psychechat"]
    assert told["task"] == "other"
    assert "stages" not in told


def test_off_is_the_default(serving: Serving) -> None:
    with serving() as served:
        assert "stages" not in ask(served)


@pytest.fixture
def keyed(serving: Serving) -> Iterator[Any]:
    with serving(refusing(), show_stages=True) as served:
        keys: dict[str, dict[str, Any]] = {name: {"sha256": digest} for name, digest in hashes(KEYS).items()}
        keys["page"]["fields"] = "minimal"
        keys["tasks"]["tasks"] = True
        keys["developer"]["inspect"] = True
        served.keyring = Keyring.of(Auth.model_validate({"keys": keys}).read())
        yield served


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("key", ["page", "desk", "tasks"])
def test_only_a_key_that_inspects_sees_them(keyed: Any, key: str, stream: bool) -> None:
    assert "stages" in ask(keyed, key=KEYS["developer"], stream=stream)
    body = {"model": "psychechat-agent", "messages": [{"role": "user", "content": SAD}], "stream": stream}
    answer = keyed.http.post("/v1/chat/completions", json=body, headers=bearer(KEYS[key]))
    assert answer.status_code == 200
    assert '"stages"' not in answer.text
    assert REFUSED_DRAFT not in answer.text


def test_without_keys_a_page_of_another_site_sees_none(serving: Serving) -> None:
    body = {"model": "psychechat-agent", "messages": [{"role": "user", "content": SAD}]}
    site = "https://app.example"
    with serving(refusing(), show_stages=True, origins=(site,)) as served:
        for origin, shown in ((site, False), ("http://localhost:5173", True)):
            answer = served.http.post("/v1/chat/completions", json=body, headers={"origin": origin})
            assert answer.status_code == 200
            assert ("stages" in answer.json()["psychechat"]) is shown


def test_a_key_that_inspects_sees_nothing_where_the_policy_shows_nothing(keyed: Any) -> None:
    keyed.pipeline.policy = keyed.pipeline.policy.model_copy(update={"show_stages": False})
    assert "stages" not in ask(keyed, key=KEYS["developer"])


@pytest.mark.parametrize("other", [{"fields": "minimal"}, {"metrics": True}, {"tasks": True}])
def test_a_key_that_inspects_is_for_turns_and_sees_all(other: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="inspect is for a key that sees all of a turn"):
        ApiKey.model_validate({"sha256": "a" * 64, "inspect": True, **other})
