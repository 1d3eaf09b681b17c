"""What Prometheus finds at the one port of a node: ours, vLLM's and Serve's side by side."""

import time

import httpx
import openai
from prometheus_client.parser import text_string_to_metric_families

from tests.support.servers import Server

ENGINES = ("num_requests_waiting", "kv_cache_usage_perc", "generation_tokens_total")
Samples = dict[str, dict[frozenset[tuple[str, str]], float]]


def _samples(url: str) -> Samples:
    samples: Samples = {}
    for family in text_string_to_metric_families(httpx.get(url, timeout=30).text):
        for sample in family.samples:
            samples.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return samples


def test_rays_plane_shows_what_the_ingress_counts_beside_vllm(
    server: Server, plane: str, client: openai.OpenAI
) -> None:
    def ask() -> None:
        hello = client.chat.completions.create(
            model="psychechat-llm", messages=[{"role": "user", "content": "I went for a walk."}]
        )
        assert hello.choices[0].message.content

    ask()
    here = _samples(f"{server.url}/metrics")
    turns = sum(here["psychechat_turns_total"].values())
    ours = {name for name in here if not name.endswith("_created")}
    expected = {f"ray_{name}" for name in ours} | {f"ray_vllm_{name}" for name in ENGINES}
    expected |= {"ray_serve_deployment_replica_healthy"}
    deadline = time.monotonic() + 40
    # Ray passes them on now and then, and forgets the gauges of an engine that has nothing to do.
    while expected - set(there := _samples(plane)) or sum(there["ray_psychechat_turns_total"].values()) < turns:
        assert time.monotonic() < deadline, expected - set(there)
        ask()

    [(labels, refused)] = there["ray_psychechat_crisis_turns_refused_total"].items()
    assert refused == 0
    assert dict(labels)["replica"]
    name = "psychechat_turn_seconds_bucket"
    les = {dict(key)["le"] for key in here[name]}
    assert {dict(key)["le"] for key in there[f"ray_{name}"]} == les
    for name in ENGINES:
        models = {dict(key)["model_name"] for key in there[f"ray_vllm_{name}"]}
        assert "counselor" in models
