"""Two counselors by language, and an adapter in one role, over a real Ray: who answers, and who is missed by whom."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from psychechat.conversation import Draft
from psychechat.prompts import answers
from tests.support.ray_cluster import Cluster
from tests.support.servers import wait_until

pytestmark = pytest.mark.e2e

ENGLISH = "You went for a walk. How was it for you?"
CHINESE = "你去散步了。那时心里感觉怎么样？"
WARM = "That walk sounds like a good thing to have done. What did you notice on it?"
REPLICAS = {"num_cpus": 0}
SETTINGS: dict[str, Any] = {
    "ingress": REPLICAS,
    "classifier": {"engine": "scripted", "replicas": REPLICAS},
    "engines": {
        "mild": {
            "engine": "scripted",
            "max_num_seqs": 10,
            "adapters": {"warm": "/scripted/engines/load/none"},
            "engine_args": {
                "table": {"reply": [f"<think>A walk.</think>{ENGLISH}"]},
                "adapters": {"warm": {"draft": [answers.render(Draft("exploration", "", WARM), "en")]}},
            },
            "replicas": REPLICAS,
        },
        "ming": {
            "engine": "scripted",
            "max_num_seqs": 64,
            "sequence_tokens": 1000,
            "engine_args": {"table": {"reply": [f"<think>散步。</think>{CHINESE}"]}, "kv_tokens": 5999},
            "replicas": REPLICAS,
        },
    },
    "roles": {"counselor": {"en": "mild/warm", "zh": "ming"}, "reply": {"en": "mild", "zh": "ming"}},
}
IN_ENGLISH, IN_CHINESE = "I went for a walk today", "我今天一个人去散步了"


@pytest.fixture
def server(cluster: Cluster) -> Cluster:
    cluster.serve(SETTINGS)
    return cluster


def ask(server: Cluster, *texts: str, model: str = "psychechat-llm") -> httpx.Response:
    """The texts alternate, the seeker's first and last."""
    messages = [{"role": "assistant" if at % 2 else "user", "content": text} for at, text in enumerate(texts)]
    return httpx.post(f"{server.url}/v1/chat/completions", json={"model": model, "messages": messages}, timeout=120)


def reply(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    return str(response.json()["choices"][0]["message"]["content"])


def test_each_language_has_its_counselor_and_a_conversation_keeps_it(server: Cluster) -> None:
    assert reply(ask(server, IN_ENGLISH)) == ENGLISH
    assert reply(ask(server, IN_CHINESE)) == CHINESE
    assert reply(ask(server, IN_ENGLISH, ENGLISH, "好")) == ENGLISH  # one word changes no conversation
    assert reply(ask(server, IN_ENGLISH, ENGLISH, IN_CHINESE)) == CHINESE


def test_a_role_is_played_by_its_adapter(server: Cluster) -> None:
    assert reply(ask(server, IN_ENGLISH, model="psychechat-agent")) == WARM
    assert reply(ask(server, IN_CHINESE, model="psychechat-agent")) != WARM


def test_each_counselor_engine_has_its_permits(server: Cluster) -> None:
    """As many as sequences, and no more than its KV memory holds."""
    reply(ask(server, IN_ENGLISH))
    lines = httpx.get(f"{server.url}/metrics", timeout=60).text.splitlines()
    bounds = {line.split('engine="')[1].split('"')[0]: float(line.split()[-1]) for line in lines if _is_bound(line)}
    assert bounds == {"mild": 10, "ming": 5}


def _is_bound(line: str) -> bool:
    return line.startswith("psychechat_permits_bound{") and 'lane="generation",state="held"' in line


def test_an_engine_that_hangs_is_named_and_missed_by_its_language_alone(server: Cluster) -> None:
    assert ready(server) == (200, {"classifier": True, "mild": True, "ming": True})
    with stopped(server, "ming"):
        missing = (503, {"classifier": True, "mild": True, "ming": False})
        wait_until(lambda: ready(server) == missing, 10, "it is said to be up")
        assert reply(ask(server, IN_ENGLISH)) == ENGLISH
        missed = ask(server, IN_CHINESE)
        assert (missed.status_code, missed.json()["error"]["code"]) == (503, "engine_unavailable")
        assert "ming" not in missed.text
        crisis = ask(server, "我想死，不想活了")
        assert crisis.json()["psychechat"]["review"]["fallback"] is True
        assert "findahelpline.com" in reply(crisis) or crisis.json()["psychechat"]["resources"]
    wait_until(lambda: ready(server)[0] == 200, 60, "it never came back")
    assert reply(ask(server, IN_CHINESE)) == CHINESE


def ready(server: Cluster) -> tuple[int, dict[str, bool]]:
    answer = httpx.get(f"{server.url}/ready", timeout=60)
    return answer.status_code, answer.json()["engines"]


@contextmanager
def stopped(server: Cluster, deployment: str) -> Iterator[None]:
    """Its process, which Serve's health check does not miss that soon."""
    [replica] = server.processes(deployment)
    replica.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        replica.send_signal(signal.SIGCONT)
