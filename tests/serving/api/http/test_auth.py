"""API keys, as clients and as those without one meet them."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import openai
import pytest
from fastapi.routing import APIRoute

from psychechat.api.http.auth import Keyring

Serving = Callable[..., AbstractContextManager[Any]]
KEYS = {"intake": "psy-first-key", "ward": "psy-second-key"}
HELLO = {"model": "psychechat", "messages": [{"role": "user", "content": "I am happy"}]}


def hashes(keys: dict[str, str]) -> dict[str, str]:
    return {name: hashlib.sha256(key.encode()).hexdigest() for name, key in keys.items()}


def keyring(keys: dict[str, str]) -> Keyring:
    return Keyring(hashes(keys))


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def guarded(serving_module: Serving) -> Iterator[Any]:
    with serving_module() as served:
        served.keyring = keyring(KEYS)
        yield served


def test_every_route_but_the_probes_needs_a_key(guarded: Any) -> None:
    routes = [route for route in guarded.app.routes if isinstance(route, APIRoute)]
    paths = {(method, route.path) for route in routes for method in route.methods}
    assert ("POST", "/v1/chat/completions") in paths
    for method, path in [*paths, ("GET", "/openapi.json"), ("GET", "/nowhere")]:
        response = guarded.http.request(method, path)
        if path in ("/health", "/ready", "/metrics"):
            assert response.status_code == 200
        else:
            assert response.status_code == 401, path
            assert set(response.json()["error"]) == {"message", "type", "param", "code"}
            assert response.json()["error"]["code"] == "invalid_api_key"
            assert response.headers["www-authenticate"] == "Bearer"
            assert response.headers["x-request-id"]


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer psy-wrong"},
        {"authorization": "Bearer"},
        {"authorization": "Basic psy-first-key"},
        {"authorization": "psy-first-key"},
        {"authorization": b"Bearer \xff\xfe"},
        {"x-api-key": "psy-first-key"},
    ],
    ids=str,
)
def test_what_is_no_key_of_ours_stays_out_and_is_not_repeated(guarded: Any, headers: dict[str, str]) -> None:
    response = guarded.http.post("/v1/chat/completions", json=HELLO, headers=headers)
    assert response.status_code == 401
    assert "psy-" not in response.text


def test_the_official_client_says_that_the_key_is_wrong(guarded: Any) -> None:
    with (
        openai.OpenAI(base_url=f"{guarded.url}/v1", api_key="psy-wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.models.list()
    with openai.OpenAI(base_url=f"{guarded.url}/v1", api_key=KEYS["ward"], max_retries=0) as client:
        assert client.models.list().data


def test_an_unreadable_body_without_a_key_is_not_read(guarded: Any) -> None:
    kind = {"content-type": "application/json"}
    assert guarded.http.post("/v1/chat/completions", content=b"{", headers=kind).status_code == 401
    headers = kind | bearer(KEYS["ward"])
    assert guarded.http.post("/v1/chat/completions", content=b"{", headers=headers).status_code == 400


def test_a_key_names_a_tenant_and_tenants_do_not_meet(guarded: Any) -> None:
    """The same words under another key find no memory, and meet no other tenant's prefix cache."""
    first = guarded.http.post("/v1/chat/completions", json=HELLO, headers=bearer(KEYS["intake"])).json()
    assert guarded.generator.prompts[-1][3].tenant_salt == "intake"
    reply = first["choices"][0]["message"]["content"]
    messages = [*HELLO["messages"], {"role": "assistant", "content": reply}, {"role": "user", "content": "I am sad"}]
    shifts = {
        name: guarded.http.post(
            "/v1/chat/completions", json={"model": "psychechat", "messages": messages}, headers=bearer(key)
        ).json()["psychechat"]["shift"]
        for name, key in KEYS.items()
    }
    assert shifts == {"intake": -4, "ward": None}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/v1/sessions/abc"),
        ("POST", "/v1/classify"),
        ("POST", "/v1/moderations"),
        ("GET", "/v1/responses/resp_1"),
        ("GET", "/openapi.json"),
        ("GET", "/v1/modelsandmore"),
        ("GET", "/nowhere"),
    ],
)
def test_a_key_for_tasks_is_for_nothing_else(serving: Serving, method: str, path: str) -> None:
    with serving() as served:
        names = {"page": "psy-page", "page-tasks": "psy-tasks", "tasks": "psy-alone"}
        served.keyring = Keyring(hashes(names), {"page-tasks": "page", "tasks": "tasks"})
        for key in ("psy-tasks", "psy-alone"):
            answer = served.http.request(method, path, headers=bearer(key))
            assert answer.status_code == 403
            assert (answer.json()["error"]["type"], answer.json()["error"]["code"]) == (
                "invalid_request_error",
                "insufficient_permissions",
            )
            for allowed in ("/v1/models", "/v1/models/psychechat", "/health", "/metrics"):
                assert served.http.get(allowed, headers=bearer(key)).status_code == 200
            assert served.http.post("/v1/chat/completions", json=HELLO, headers=bearer(key)).status_code == 200
            asked = {"model": "psychechat", "input": HELLO["messages"]}
            assert served.http.post("/v1/responses", json=asked, headers=bearer(key)).status_code == 200
        assert served.http.request(method, path, headers=bearer("psy-page")).status_code != 403


def test_keys_change_while_the_server_runs(serving: Serving) -> None:
    with serving() as served:
        assert served.http.get("/v1/models").status_code == 200
        served.keyring = keyring({"intake": "psy-old"})
        assert served.http.get("/v1/models", headers=bearer("psy-old")).status_code == 200
        served.keyring = keyring({"intake": "psy-new"})
        assert served.http.get("/v1/models", headers=bearer("psy-old")).status_code == 401
        assert served.http.get("/v1/models", headers=bearer("psy-new")).status_code == 200


def test_metrics_may_need_a_key(serving: Serving) -> None:
    with serving(open_metrics=False) as served:
        served.keyring = keyring(KEYS)
        assert served.http.get("/metrics").status_code == 401
        assert served.http.get("/metrics", headers=bearer(KEYS["ward"])).status_code == 200


@pytest.mark.parametrize("open_metrics", [True, False])
def test_metrics_may_have_a_key_of_their_own(serving: Serving, open_metrics: bool) -> None:
    """A scraper's key reads no seeker's words, and no client's key reads the metrics of all tenants."""
    with serving(open_metrics=open_metrics) as served:
        served.keyring = Keyring(hashes(KEYS | {"prometheus": "psy-scraper"}), metrics={"prometheus"})
        assert served.http.get("/metrics").status_code == 401
        assert served.http.get("/metrics", headers=bearer(KEYS["ward"])).status_code == 403
        assert served.http.get("/metrics", headers=bearer("psy-scraper")).status_code == 200
        for method, path in (("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/openapi.json")):
            assert served.http.request(method, path, headers=bearer("psy-scraper")).status_code == 403
        assert served.http.get("/ready").status_code == 200
        document = served.http.get("/openapi.json", headers=bearer(KEYS["ward"])).json()
        assert document["paths"]["/metrics"]["get"]["security"] == [{"key": []}]
        served.keyring = keyring(KEYS)
        assert (served.http.get("/metrics").status_code == 200) is open_metrics
