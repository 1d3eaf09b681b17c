"""A node goes while it holds turns: what runs before a pod is killed moves its replicas, and no turn is lost."""

import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from types import SimpleNamespace

import httpx
import pytest
import typer
from ray.util.state import list_nodes

from psychechat_ray import drain
from psychechat_ray.drain import busy
from tests.support.ray_cluster import HASTE, Cluster, ray_worker
from tests.support.servers import answers, wait_until

OURS = {"num_cpus": 0, "resources": {"ours": 1}}
ENGINE = {"engine": "scripted", "replicas": OURS}
SETTINGS = {"ingress": OURS, "classifier": ENGINE, "counselor": {**ENGINE, "engine_args": {"seconds_per_word": 0.2}}}
"""A turn takes some four seconds."""
GRACEFUL_SECONDS = 30
DRAIN_SECONDS = 90


@pytest.mark.e2e
def test_a_node_that_goes_loses_no_turn(cluster: Cluster) -> None:
    with ray_worker(cluster, "old", env=HASTE, resources='{"ours": 9}') as old:
        cluster.serve(SETTINGS, graceful_shutdown_timeout_s=GRACEFUL_SECONDS)
        # Its own HAProxy hears of the application later than the head's.
        wait_until(lambda: answers(f"{old.url}/ready"), 60, "the node that is to go never answered")
        [leaving] = [n.node_id for n in list_nodes(cluster.dashboard) if n.state == "ALIVE" and not n.is_head_node]
        assert busy(leaving, cluster.dashboard)
        with ray_worker(cluster, "new", env=HASTE, resources='{"ours": 9}'):
            answered: list[httpx.Response | Exception] = []
            stop = threading.Event()

            def ask(url: str, more: bool) -> None:
                while True:
                    try:
                        answered.append(httpx.post(f"{url}/v1/chat/completions", json=TURN, timeout=60))
                    except httpx.HTTPError as error:
                        answered.append(error)
                    if stop.is_set() or not more:
                        return

            # Turns that are under way at the node that goes, and traffic through the head all the while.
            threads = [threading.Thread(target=ask, args=(old.url, False)) for _ in range(3)]
            threads += [threading.Thread(target=ask, args=(cluster.url, True)) for _ in range(3)]
            for thread in threads:
                thread.start()
            wait_until(lambda: turns_under_way(cluster) == len(threads), 30, "not all of them began")
            started = time.monotonic()
            subprocess.run(
                [
                    *(sys.executable, "-m", "psychechat_ray.drain", "--seconds", str(DRAIN_SECONDS)),
                    *("--node", leaving, "--address", cluster.gcs),
                ],
                check=True,
                timeout=DRAIN_SECONDS + 30,
            )
            took = time.monotonic() - started
            stop.set()
            for thread in threads:
                thread.join()
            assert took < DRAIN_SECONDS - 10, "it waited for nothing, or for ever"
            assert not busy(leaving, cluster.dashboard)
            assert [a.status_code if isinstance(a, httpx.Response) else repr(a) for a in answered] == [200] * len(
                answered
            )
            assert all(
                a.json()["choices"][0]["finish_reason"] == "stop" for a in answered if isinstance(a, httpx.Response)
            )
            assert len(answered) > 6


def turns_under_way(cluster: Cluster) -> int:
    """By the permits that they hold at the one ingress."""
    metrics = httpx.get(f"{cluster.url}/metrics", timeout=20).text.splitlines()
    [held] = [line for line in metrics if line.startswith("psychechat_permits{") and 'generation",state="held' in line]
    return int(float(held.rpartition(" ")[2]))


class _Ray:
    """Where a call fails as often as it says, and then answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **failures: int) -> None:
        self.failures, self.asked = failures, Counter[str]()
        monkeypatch.setattr(drain, "POLL_SECONDS", 0.01)
        monkeypatch.setattr(drain, "list_nodes", lambda *_, **__: self._answer("nodes", [SimpleNamespace(node_id="n")]))
        monkeypatch.setattr(drain, "list_actors", lambda *_, **__: self._answer("actors", []))
        monkeypatch.setattr(subprocess, "run", lambda command, **_: self._answer(command[1], None))

    def _answer(self, question: str, answer: object) -> object:
        self.asked[question] += 1
        if self.asked[question] <= self.failures.get(question.replace("-", "_"), 0):
            raise ConnectionError("no answer")
        return answer


@pytest.mark.parametrize("question", ["nodes", "drain_node", "actors"])
def test_a_question_that_ray_does_not_answer_is_asked_again(question: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = _Ray(monkeypatch, **{question: 3})
    drain.drain(seconds=60)
    assert ray.asked[question.replace("_", "-")] == 4
    assert ray.asked["actors"] >= 1


@pytest.mark.parametrize("question", ["nodes", "drain_node", "actors"])
def test_a_ray_that_never_answers_takes_no_second_from_the_turns(
    question: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _Ray(monkeypatch, **{question: 10_000})
    started = time.monotonic()
    with suppress(typer.Exit):
        drain.drain(seconds=1)
    assert time.monotonic() - started >= 1


TURN = {"model": "psychechat-llm", "messages": [{"role": "user", "content": "I went for a walk."}]}
