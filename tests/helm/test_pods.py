"""The pods that KubeRay makes of the chart's, as `make cluster` acts them out: what Ray is told, and who may go."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.cluster.ending import may_be_evicted, seconds_to_stop
from benchmarks.cluster.environment import environment
from benchmarks.cluster.kuberay import RayCluster, head_pod, identity, quantity, worker_pod
from benchmarks.cluster.world import VALUES
from tests.helm.charts import CHART, Helm, Manifest, Rendered

SECRETS = {
    "psychechat-redis": {"password": "pa55word", "url": "redis://redis"},
    "hugging-face": {"token": "hf"},
    "rel-abcde": {"auth_token": "sesame"},
}
IP = "10.244.0.9"


def cluster(rendered: Rendered) -> RayCluster:
    return RayCluster("rel-abcde", "chat", rendered.cluster)


def pods(rendered: Rendered) -> dict[str, Manifest]:
    """As KubeRay makes them, by group."""
    of = cluster(rendered)
    return {"head": head_pod(of)} | {g["groupName"]: worker_pod(of, g) for g in of.spec["workerGroupSpecs"]}


def variables(pod: Manifest) -> dict[str, str]:
    [container] = pod["spec"]["containers"]
    metadata = {**pod["metadata"], "name": "rel-abcde-pod", "namespace": "chat"}
    return environment(container["env"], secrets=SECRETS, metadata=metadata, ip=IP)


def told(pod: Manifest, folder: Path) -> tuple[dict[str, str], str]:
    """The options that `ray start` gets from the container's shell, and the bound on core dumps that it runs under."""
    program = folder / "ray"
    program.write_text('#!/bin/sh\nulimit -c\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    [container] = pod["spec"]["containers"]
    env = {**os.environ, **variables(pod), "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(
        [*container["command"], *container["args"]], env=env, capture_output=True, text=True, check=True
    )
    cores, start, *options = done.stdout.splitlines()
    assert start == "start"
    pairs = [option.removeprefix("--").partition("=") for option in options]
    return {name: value for name, _, value in pairs}, cores


@pytest.mark.parametrize(
    ("values", "ingresses"),
    [(VALUES, 1), (CHART / "ci/cpu-demo-values.yaml", 2), (CHART / "ci/single-gpu-values.yaml", 2)],
)
def test_bash_gives_ray_what_the_chart_means(values: Path, ingresses: int, helm: Helm, tmp_path: Path) -> None:
    """Through two layers of quoting: Helm's YAML, and the shell."""
    rendered = helm.render(values=values)
    made = pods(rendered)
    head, cores = told(made["head"], tmp_path)
    assert cores == "0"
    assert head["num-cpus"] == "0", "something of ours could run on the head"
    assert {"head", "block"} <= set(head)
    if "gcsFaultToleranceOptions" in rendered.cluster:
        assert head["redis-password"] == "pa55word"
    for group in rendered.cluster["workerGroupSpecs"]:
        worker, cores = told(made[group["groupName"]], tmp_path)
        [container] = group["template"]["spec"]["containers"]
        limits = container["resources"]["limits"]
        assert cores == "0"
        assert worker["address"] == "rel-abcde-head-svc.chat.svc.cluster.local:6379"
        assert float(worker["num-cpus"]) >= quantity(limits["cpu"])
        assert int(worker["memory"]) == quantity(limits["memory"])
        assert worker.get("num-gpus", "0") == str(limits.get("nvidia.com/gpu", 0))
        if group["groupName"] == "ingress":
            assert json.loads(worker["resources"]) == {"ingress": ingresses}


def test_pods_find_each_other_and_their_secrets(helm: Helm) -> None:
    made = pods(helm.render(values=VALUES))
    head, worker, engines = (variables(made[name]) for name in ("head", "ingress", "engines"))
    assert head["RAY_ADDRESS"] == "127.0.0.1:6379"
    assert worker["RAY_ADDRESS"] == "rel-abcde-head-svc.chat.svc.cluster.local:6379"
    assert worker["PSYCHECHAT_REDIS_URL"] == "redis://:pa55word@rel-psychechat-redis.chat.svc:6379/1"
    assert "PSYCHECHAT_REDIS_URL" not in engines
    assert {v["RAY_AUTH_TOKEN"] for v in (head, worker, engines)} == {"sesame"}
    assert head["RAY_REDIS_ADDRESS"] == "redis://rel-psychechat-redis.chat.svc:6379"


@dataclass
class Voter:
    labels: Mapping[str, str]
    healthy: bool = True


def test_a_budget_of_the_chart_lets_one_of_two_go(helm: Helm) -> None:
    """Its selector finds the pods that KubeRay labels."""
    rendered = helm.render(values=VALUES)
    made, budgets = pods(rendered), rendered.of_kind("PodDisruptionBudget")
    all_pods = [
        Voter(made[name]["metadata"]["labels"]) for name in ("head", "ingress", "ingress", "engines", "engines")
    ]
    for first, second in ((1, 2), (3, 4)):
        assert may_be_evicted(all_pods[first], budgets, all_pods)
        all_pods[first].healthy = False
        assert not may_be_evicted(all_pods[second], budgets, all_pods)


def test_the_hook_leaves_ray_time_to_stop(rendered: Rendered) -> None:
    """A hook that uses all of its seconds ends before the kubelet's patience does."""
    for group in rendered.cluster["workerGroupSpecs"]:
        spec = group["template"]["spec"]
        command = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        assert seconds_to_stop(spec["terminationGracePeriodSeconds"], float(command[-1])) >= 15


def test_what_takes_a_second_cluster_and_what_does_not(helm: Helm) -> None:
    before = identity(helm.render(values=VALUES).cluster)

    def after(*sets: str) -> str:
        return identity(helm.render(*sets, values=VALUES).cluster)

    assert after("app.policy.routing.raised_from=ideation") == before
    assert after("app.counselor.max_num_seqs=9") == before
    assert after("workerGroups.engines.replicas=3") == before
    assert after("image.tag=another") != before
    assert after("workerGroups.engines.resources.limits.cpu=5") != before
