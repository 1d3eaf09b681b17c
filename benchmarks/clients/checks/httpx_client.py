"""Plain HTTP, as scripts and proxies send it."""

import os

import httpx

client = httpx.Client(base_url=os.environ["PSYCHECHAT_URL"], timeout=120)
HELLO = {"model": "psychechat", "messages": [{"role": "user", "content": "I could not sleep."}]}


def test_a_stream_ends_as_it_should() -> None:
    answer = client.post("/v1/chat/completions", json={**HELLO, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.rstrip().endswith("data: [DONE]")


def test_the_probes_of_gateways_find_it_well() -> None:
    """Of LiteLLM and others: few tokens, HEAD, a list of models."""
    for bound in (1, 4, 16):
        probe = client.post("/v1/chat/completions", json={**HELLO, "max_tokens": bound})
        assert probe.status_code == 200
        assert probe.json()["choices"][0]["finish_reason"] in ("stop", "length")
    assert client.head("/v1/models").status_code == 200
    assert client.get("/health").status_code == 200


def test_what_was_ignored_is_named() -> None:
    answer = client.post("/v1/chat/completions", json={**HELLO, "ignore_eos": True, "num_ctx": 4096})
    assert set(answer.headers["x-psychechat-ignored"].split(", ")) == {"ignore_eos", "num_ctx"}
