"""What Prometheus finds at the one port of a node: ours, vLLM's and Serve's side by side."""

import time

import httpx
import openai
from prometheus_client.parser import text_string_to_metric_families

from tests.support.servers import Server

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
    hello = client.chat.completions.create(
        model="psychechat-llm", messages=[{"role": "user", "content": "I went for a walk."}]
    )
    assert hello.choices[0].message.content
    here = _samples(f"{server.url}/metrics")
    turns = sum(here["psychechat_turns_total"].values())
    deadline = time.monotonic() + 40
    while True:  # Ray passes it on every ten seconds
        there = _samples(plane)
        if sum(there.get("ray_psychechat_turns_total", {}).values()) >= turns:
            break
        assert time.monotonic() < deadline
        time.sleep(1)

    ours = {name for name in here if not name.endswith("_created")}
    assert {f"ray_{name}" for name in ours} <= set(there)
    [(labels, refused)] = there["ray_psychechat_crisis_turns_refused_total"].items()
    assert refused == 0
    assert dict(labels)["replica"]
    name = "psychechat_turn_seconds_bucket"
    les = {dict(key)["le"] for key in here[name]}
    assert {dict(key)["le"] for key in there[f"ray_{name}"]} == les
    for name in ("ray_vllm_num_requests_waiting", "ray_vllm_kv_cache_usage_perc", "ray_vllm_generation_tokens_total"):
        models = {dict(key)["model_name"] for key in there[name]}
        assert "counselor" in models
    assert "ray_serve_deployment_replica_healthy" in there
