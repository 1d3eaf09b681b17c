"""Engines scale on their own gauges and the ingress on open turns: the rule alone, then a server that breathes."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from ray.serve.config import AutoscalingContext
from typer.testing import CliRunner

from psychechat.cli import commands
from psychechat.config import Autoscaling, EngineAutoscaling, GeneratorSettings
from psychechat.engines.base import Load
from psychechat_ray.autoscaling import Fullness, by_fullness, gauges, options
from tests.support.ray_cluster import DEPLOYMENTS, Cluster
from tests.support.redis_server import RedisServer

FULL = Load(num_requests_running=10)


def wanted(*said: Load, running: int | None = None, target: int | None = None, sequences: int = 10) -> float:
    """How many engines there should be, of so many sequences and for a target of a half, after what those there say."""
    names, gauged = gauges(Load(), sequences), [gauges(load, sequences) for load in said]
    unused: dict[str, Any] = dict.fromkeys(
        (
            *("deployment_id", "deployment_name", "app_name", "running_replicas", "total_num_requests", "config"),
            *("total_queued_requests", "raw_metrics", "capacity_adjusted_min_replicas", "policy_state"),
            *("capacity_adjusted_max_replicas", "last_scale_up_time", "last_scale_down_time", "current_time"),
        )
    )
    context = AutoscalingContext(
        **unused,
        current_num_replicas=len(said) if running is None else running,
        target_num_replicas=len(said) if target is None else target,
        aggregated_metrics={name: {f"r{i}": gauge[name] for i, gauge in enumerate(gauged)} for name in names},  # type: ignore[misc]
    )
    number, _ = Fullness(target=0.5)(context)
    return number


def test_so_many_engines_that_each_is_as_full_as_it_should_be() -> None:
    assert wanted(Load()) == 0  # the bounds are Ray's
    assert wanted(Load(num_requests_running=5)) == 1
    assert wanted(Load(num_requests_running=6)) == 1.2
    assert wanted(FULL, FULL, Load()) == 4


def test_what_waits_counts_and_so_does_the_kv_cache_where_it_is_fuller() -> None:
    assert wanted(Load(num_requests_running=2, num_requests_waiting=8)) == 2
    assert wanted(Load(num_requests_running=2, kv_cache_usage_perc=0.9)) == 1.8
    assert wanted(Load(num_requests_running=9, kv_cache_usage_perc=0.2)) == 1.8


def test_an_engine_whose_memory_holds_few_sequences_is_full_of_those() -> None:
    """Of short ones, whose KV leaves the cache far from full."""
    assert wanted(Load(num_requests_running=4, kv_cache_usage_perc=0.3), sequences=4) == 2
    assert wanted(Load(num_requests_running=4, kv_cache_usage_perc=0.3), sequences=100) == 0.6


def test_sums_of_binary_fractions_ask_for_no_engine_more() -> None:
    assert wanted(*[Load(kv_cache_usage_perc=0.1)] * 3, Load(kv_cache_usage_perc=0.2)) == 1


def test_no_engine_goes_while_one_has_said_nothing() -> None:
    assert wanted(Load(), Load(), running=3, target=3) == 3
    assert wanted(FULL, FULL, running=3, target=3) == 4
    assert wanted(running=2, target=2) == 2
    assert wanted(running=0, target=2) == 2  # all are dead


def test_settings_in_rays_words() -> None:
    """A window shorter than Ray's reports has shorter reports."""
    settings = Autoscaling(min_replicas=2, max_replicas=5, target=30, window_seconds=6)
    config = options(settings)["autoscaling_config"]
    assert (config.min_replicas, config.max_replicas, config.target_ongoing_requests) == (2, 5, 30)
    assert (config.look_back_period_s, config.metrics_interval_s) == (6, 2)
    assert (config.upscale_delay_s, config.downscale_delay_s) == (10, 600)
    assert config.policy.is_default_policy_function()
    engine = GeneratorSettings.model_validate({"max_num_seqs": 10, "replicas": {"autoscaling": {"max_replicas": 2}}})
    policy = by_fullness(engine)
    assert policy is not None
    assert policy.get_policy()(**policy.policy_kwargs)._target == EngineAutoscaling(max_replicas=2).target
    assert by_fullness(GeneratorSettings()) is None


# --- a server

QUICK = {"window_seconds": 3, "upscale_seconds": 0.5, "downscale_seconds": 2}
SECONDS = 60.0
"""For each step, at most; most take ten."""


@pytest.fixture
def server(cluster: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    with RedisServer(tmp_path) as redis:
        cluster.serve(settings(tmp_path, redis.url))
        yield cluster


def settings(folder: Path, redis: str) -> Mapping[str, Any]:
    (folder / "url").write_text(redis)
    (folder / "keys.yaml").write_text(CliRunner().invoke(commands, ["keys", "memory"]).output)
    return {
        "ingress": {"num_cpus": 0, "autoscaling": QUICK | {"max_replicas": 2, "target": 8}},
        "classifier": {"engine": "scripted", "replicas": {"num_cpus": 0}},
        "counselor": {
            "engine": "scripted",
            "max_num_seqs": 8,
            "engine_args": {"seconds_per_word": 0.1},
            "replicas": {"num_cpus": 0, "autoscaling": QUICK | {"max_replicas": 3, "target": 0.5}},
        },
        "memory": {"backend": "redis", "url_file": str(folder / "url"), "keys_file": str(folder / "keys.yaml")},
        "policy": {"admission": {"generation_seconds": 60}},  # whoever comes in the step waits for the new engines
    }


class Crowd:
    """People who talk without a pause. `answers` are all that they got."""

    def __init__(self, url: str) -> None:
        self._url = url + "/v1/chat/completions"
        self._wanted = 0
        self.answers: Counter[str] = Counter()

    @contextmanager
    def talking(self, people: int) -> Iterator[None]:
        self.set(people)
        thread = threading.Thread(target=lambda: asyncio.run(self._talk()))
        thread.start()
        try:
            yield
        finally:
            self.set(0)
            thread.join()

    def set(self, people: int) -> None:
        self._wanted = people

    async def _talk(self) -> None:
        talking: dict[int, asyncio.Task[None]] = {}
        async with httpx.AsyncClient(timeout=90) as client:
            while self._wanted:
                for person in range(self._wanted):
                    if person not in talking or talking[person].done():
                        talking[person] = asyncio.create_task(self._turn(client, person))
                await asyncio.sleep(0.02)
            await asyncio.gather(*talking.values())

    async def _turn(self, client: httpx.AsyncClient, person: int) -> None:
        message = {"role": "user", "content": f"I am number {person} and went for a walk."}
        try:
            response = await client.post(self._url, json={"model": "psychechat-llm", "messages": [message]})
            text = response.text
            whole = response.status_code == 200 and '"finish_reason":"stop"' in text and "weighs on you most?" in text
            self.answers["whole" if whole else f"{response.status_code} {text}"] += 1
        except httpx.HTTPError as error:
            self.answers[repr(error)] += 1


def replicas(server: Cluster) -> Counter[str]:
    """The processes that there are, those that end their last turns among them."""
    return Counter({name: len(server.processes(name)) for name in DEPLOYMENTS})


def permits(server: Cluster) -> float:
    """Sequences that an ingress replica lets through."""
    text = httpx.get(f"{server.url}/metrics", timeout=60).text
    labels = '{engine="counselor",lane="generation",state="held"}'
    [line] = [x for x in text.splitlines() if x.startswith(f"psychechat_permits_bound{labels}")]
    return float(line.split()[-1])


def until(condition: Callable[[], bool], what: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


@pytest.mark.e2e
def test_one_three_one_under_a_step_of_load_and_no_turn_is_lost(server: Cluster) -> None:
    few = Counter(ingress=1, classifier=1, counselor=1)
    many = Counter(ingress=2, classifier=1, counselor=3)
    until(lambda: replicas(server) == few, lambda: replicas(server))  # a process is named a moment after it is ready
    assert permits(server) == 8
    crowd = Crowd(server.url)
    with crowd.talking(24):
        until(lambda: replicas(server) == many, lambda: replicas(server))
        until(lambda: permits(server) == 3 * 8 // 2, lambda: permits(server))
        crowd.set(1)
        until(lambda: replicas(server) == few, lambda: replicas(server))
        until(lambda: permits(server) == 8, lambda: permits(server))
    assert set(crowd.answers) == {"whole"}, crowd.answers
    assert crowd.answers["whole"] > 48
