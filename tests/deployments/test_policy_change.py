"""A threshold, the crisis table and the keys change under traffic, by `serve deploy` as an operator does it; no replica
restarts."""

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
import yaml

from psychechat.policy import Policy
from tests.support.ray_cluster import AT_ONCE, Cluster, application
from tests.support.servers import wait_until

pytestmark = pytest.mark.e2e

KEPT, WITHDRAWN, ADDED = "psy-kept", "psy-withdrawn", "psy-added"
ANSWER_SECONDS = 120
"""Longer than a turn may take."""
PATIENT = {"limits": {"classify_seconds": ANSWER_SECONDS / 2}}
"""A machine that stalls makes no risk unknown."""
SCRIPTED = {"engine": "scripted", "replicas": {"num_cpus": 0}}


def deploy(cluster: Cluster, user_config: dict[str, Any], keys: Sequence[str]) -> None:
    """The keys are `keys_file`'s when the policy changes."""
    named = {f"client-{i}": hashlib.sha256(key.encode()).hexdigest() for i, key in enumerate(keys)}
    (cluster.folder / "keys.yaml").write_text(yaml.safe_dump(named))
    settings = {
        "classifier": SCRIPTED,
        "counselor": SCRIPTED,
        "ingress": {"num_cpus": 0},
        "auth": {"keys_file": str(cluster.folder / "keys.yaml")},
    }
    cluster.deploy(cluster.config(application(settings, user_config={**PATIENT, **user_config}, **AT_ONCE)))


def status(cluster: Cluster, key: str) -> int:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.get(f"{cluster.url}/v1/models", headers=headers, timeout=ANSWER_SECONDS).status_code


def ask(cluster: Cluster, key: str, text: str) -> dict[str, Any]:
    body = {"model": "psychechat", "messages": [{"role": "user", "content": text}]}
    headers = {"authorization": f"Bearer {key}"}
    response = httpx.post(f"{cluster.url}/v1/chat/completions", json=body, headers=headers, timeout=ANSWER_SECONDS)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def reason(cluster: Cluster, key: str) -> str:
    return str(ask(cluster, key, "All feels hopeless.")["psychechat"]["reason"])


def crisis_table() -> dict[str, Any]:
    """Another phrase alarms, and another number is given."""
    table = Policy().crisis.model_dump(mode="json")
    resources = {**table["resources"], "en": [{"name": "The night desk", "contact": "555 0199"}]}
    return {**table, "backstop": {**table["backstop"], "en": ["the grey tunnel"]}, "resources": resources}


def test_a_policy_change_restarts_nothing_and_loses_no_turn(cluster: Cluster) -> None:
    deploy(cluster, {"routing": {"raised_from": "indicator"}}, [KEPT, WITHDRAWN])
    cluster.wait_until_whole()
    assert reason(cluster, KEPT) == "raised_risk"
    assert [status(cluster, key) for key in (WITHDRAWN, ADDED, "psy-nobody")] == [200, 401, 401]
    before = cluster.replicas()
    assert ask(cluster, KEPT, "I am in the grey tunnel.")["psychechat"]["reason"] == "low_risk"
    assert {name: len(ids) for name, ids in before.items()} == {"ingress": 1, "classifier": 1, "counselor": 1}

    reasons: Counter[str] = Counter()
    stop = threading.Event()

    def traffic() -> None:
        while not stop.is_set():
            try:
                reasons[reason(cluster, KEPT)] += 1
            except Exception as error:
                reasons[f"failed: {type(error).__name__}"] += 1

    threads = [threading.Thread(target=traffic) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        changed = {"routing": {"raised_from": "ideation"}, "crisis": crisis_table()}
        deploy(cluster, changed, [KEPT, ADDED])
        deadline = time.monotonic() + 60
        while reasons["low_risk"] < 20 and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(reasons) == {"raised_risk", "low_risk"}, json.dumps(reasons)
    assert reason(cluster, KEPT) == "low_risk"
    alarmed = ask(cluster, KEPT, "I am in the grey tunnel.")
    assert alarmed["psychechat"]["reason"] == "crisis"
    assert "555 0199" in alarmed["choices"][0]["message"]["content"]
    assert [status(cluster, key) for key in (WITHDRAWN, ADDED, "psy-nobody")] == [401, 200, 401]
    assert cluster.replicas() == before


def refused(cluster: Cluster) -> list[str]:
    answer = httpx.get(f"{cluster.url}/ready", timeout=ANSWER_SECONDS).raise_for_status()
    parts: list[str] = answer.json().get("config_refused", [])
    return parts


def test_a_change_that_is_wrong_restarts_nothing_and_the_old_one_is_served(cluster: Cluster) -> None:
    """Serve stops a replica whose `reconfigure` raises, and the next one."""
    good = {"routing": {"raised_from": "ideation"}}
    deploy(cluster, good, [KEPT])
    cluster.wait_until_whole()
    wait_until(lambda: refused(cluster) == [], 60, "the first policy was refused")
    before = cluster.replicas()
    deploy(cluster, {"routing": {"raised_frm": "indicator"}}, [KEPT])
    wait_until(lambda: refused(cluster) == ["policy"], 60, "the typo in the policy was not refused")
    deploy(cluster, {**good, "revision": "2"}, [])
    wait_until(lambda: refused(cluster) == ["keys"], 60, "the empty file of keys was not refused")
    assert (reason(cluster, KEPT), status(cluster, ADDED)) == ("low_risk", 401)
    deploy(cluster, {**good, "revision": "3"}, [KEPT, ADDED])
    wait_until(lambda: status(cluster, ADDED) == 200, 60, "what was mended was not taken")
    assert refused(cluster) == []
    assert cluster.replicas() == before


def test_a_replica_that_dies_while_the_policy_is_wrong_is_followed_by_one_with_the_last(cluster: Cluster) -> None:
    """What it was started with is older, and what is deployed would end it again and again."""
    deploy(cluster, {"routing": {"raised_from": "ideation"}}, [KEPT])
    cluster.wait_until_whole()
    wait_until(lambda: refused(cluster) == [], 60, "the first policy was refused")
    deploy(cluster, {"routing": {"raised_frm": "indicator"}}, [KEPT])
    wait_until(lambda: refused(cluster) == ["policy"], 60, "the typo in the policy was not refused")
    [before] = cluster.replicas()["ingress"]
    [process] = cluster.processes("ingress")
    process.kill()
    wait_until(lambda: cluster.replicas()["ingress"] not in ([], [before]), 60, "no other ingress came")
    cluster.wait_until_whole()
    assert refused(cluster) == ["policy"]
    assert (reason(cluster, KEPT), status(cluster, ADDED)) == ("low_risk", 401)
