"""An ingress without Ray: a change of its configuration that is wrong changes nothing, and is told everywhere but in
secrets."""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from copy import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
import yaml
from ray import serve

from psychechat.api import probes
from psychechat.config import Settings
from psychechat.help import languages
from psychechat.pipeline.services import Pipeline
from psychechat.policy import Policy
from psychechat.safety import phrases
from psychechat.safety.replies import broken_text, contacts, crisis_reply
from psychechat_ray import ingress as module
from psychechat_ray.ingress import Ingress
from psychechat_ray.live_config import ConfigRefused

KEPT, ADDED = "psy-kept-on-the-client", "psy-added-on-the-client"
DIGEST, OTHER = (hashlib.sha256(key.encode()).hexdigest() for key in (KEPT, ADDED))
MEMORY = f"index: {'0f' * 32}\nencrypt_with: a\nkeys: {{a: {'0a' * 32}}}\n"
GOOD = {"routing": {"raised_from": "ideation"}}


class Plain(cast(Any, Ingress).__mro__[1]):  # type: ignore[misc]  # without Serve's wrapping
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, None, dict.fromkeys(settings.engines))

    def __del__(self) -> None:
        """It has started nothing that would have to be awaited."""

    async def _ready(self) -> Mapping[str, bool]:
        return {"classifier": True, "counselor": True}


class Cluster:
    """Where replicas leave their last policy for those that come after them."""

    def __init__(self, *_: str) -> None:
        pass

    last: object = None

    def keep(self, policy: object) -> None:
        type(self).last = policy

    def kept(self) -> object:
        return self.last


class World:
    """The files that the settings name, and an ingress replica that has started."""

    def __init__(self, folder: Path, start: Callable[[Settings], Any]) -> None:
        self.keys, self.memory = folder / "keys.yaml", folder / "memory.yaml"
        self.keys.write_text(f"client: {DIGEST}\ntraining: {{sha256: {'d' * 64}, drill: true}}\n")
        self.memory.write_text(MEMORY)
        (folder / "url").write_text("redis://127.0.0.1:1")
        self.settings = Settings.model_validate(
            {
                "classifier": {"engine": "scripted"},
                "counselor": {"engine": "scripted"},
                "auth": {"keys_file": self.keys},
                "memory": {"backend": "redis", "url_file": folder / "url", "keys_file": self.memory},
            }
        )
        self.ingress = start(self.settings)
        self.app = self.ingress.__serve_build_asgi_app__()

    def serve(self, user_config: Mapping[str, Any]) -> None:
        """As Serve starts a replica."""
        self.ingress.reconfigure(user_config)
        self.ingress.check_health()

    def get(self, path: str, key: str) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                return await client.get(path, headers={"authorization": f"Bearer {key}"})

        return asyncio.run(asked())

    def is_known(self, key: str) -> bool:
        return self.get("/v1/models", key).status_code == 200

    @property
    def refused(self) -> list[str]:
        """As the metric has it."""
        lines = self.get("/metrics", KEPT).text.splitlines()
        found = [line for line in lines if line.startswith("psychechat_config_refused{") and line.endswith(" 1.0")]
        return [line.split('"')[1] for line in found]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Callable[[Settings], Any]:
    context = SimpleNamespace(replica_id=SimpleNamespace(unique_id="r"), app_name="psychechat", deployment="ingress")
    monkeypatch.setattr(serve, "get_replica_context", lambda: context)
    monkeypatch.setattr(Cluster, "last", None)
    monkeypatch.setattr(module, "LastPolicy", Cluster)
    monkeypatch.setattr(module, "start_telemetry", lambda: Pipeline.tracer)
    monkeypatch.setattr(module, "RayMetricsExporter", lambda *_: None)
    monkeypatch.setattr(module, "freeze_heap", lambda: None)
    monkeypatch.setattr(probes, "KEPT_SECONDS", 0.0)
    for slow in (languages, contacts, crisis_reply, broken_text, phrases):
        monkeypatch.setattr(slow, "warm", lambda: None)

    return Plain


@pytest.fixture
def world(tmp_path: Path, start: Callable[[Settings], Any]) -> World:
    return World(tmp_path, start)


def crisis(**tables: object) -> dict[str, object]:
    return {"crisis": tables}


def rules(*lines: str) -> dict[str, object]:
    return {"guard": {"rules": {"phrases": {"method": {"en": lines}}}}}


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ({"routing": {"raised_frm": "ideation"}}, "routing.raised_frm"),
        ({"risk": {"ideation": 7}}, "risk.ideation"),
        (crisis(resources={"en": [{"name": "The night desk"}]}), "crisis.resources: en, row 1: contact is missing"),
        (crisis(resources={"de": [{"name": "Nachts", "contact": "1"}]}), "no generic entry"),
        (crisis(backstop={"en": ["(the grey tunnel"], "zh": ["灰色"]}), "crisis.backstop: the line"),
        (crisis(template="Call us."), "crisis.template is a table of languages"),
        (crisis(words=5), "crisis.words is a table of languages"),
        (rules("<pills> help"), "names <pills>"),
        (rules("'"), "nothing to look for"),
        ({"quotas": {KEPT: {"turns": 1}}}, "quotas.NAME.turns"),
        (["policy"], "valid dictionary"),
        (7, "valid dictionary"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_policy_that_is_wrong_keeps_the_old_one(
    world: World, caplog: pytest.LogCaptureFixture, policy: Any, told: str
) -> None:
    world.serve(GOOD)
    before = world.ingress._pipeline.policy
    with caplog.at_level(logging.ERROR):
        world.ingress.reconfigure(policy)
    assert world.ingress._pipeline.policy is before
    assert world.is_known(KEPT)
    assert told in caplog.text
    assert KEPT not in caplog.text
    ready = world.get("/ready", "")
    assert (ready.status_code, ready.json()["config_refused"]) == (200, ["policy"])
    assert world.refused == ["policy"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no keys"),
        ("{}", "holds no keys"),
        (f"client: {DIGEST}\nother: {OTHER[:20]}", "entry 2: no SHA-256"),  # half-written
        (f"client: {DIGEST}\noth", "not YAML: line 2"),
        ("client", "holds no keys"),
        (f"client: {DIGEST.upper()}\n", "entry 1: no SHA-256"),
        (f"client: {ADDED}\n", "entry 1: no SHA-256"),  # the key in the place of its digest
        (f"{ADDED}: client\n", "entry 1: no SHA-256"),  # and in the place of its name
        (f"'{ADDED} !': {DIGEST}\n", "entry 1: its name"),
        (f"client: {{{ADDED}: 1, sha256: {DIGEST}}}\n", "entry 1: there is a field beside sha256"),
        (f"client: {{sha256: {DIGEST}, tasks: true, of: {ADDED}}}\n", "there is no such key"),
        (f"client: [{ADDED}\n", "not YAML: line"),
        (b"client: \xff" + ADDED.encode(), "not UTF-8"),
        (None, "cannot be read (FileNotFoundError)"),
    ],
)
def test_a_file_of_keys_that_is_wrong_keeps_the_old_ones(
    world: World, caplog: pytest.LogCaptureFixture, text: str | bytes | None, told: str
) -> None:
    world.serve(GOOD)
    if text is None:
        world.keys.unlink()
    else:
        world.keys.write_bytes(text.encode() if isinstance(text, str) else text)
    with caplog.at_level(logging.ERROR):
        world.ingress.reconfigure({"revision": "2"})
    assert told in caplog.text
    assert not any(key in caplog.text for key in (KEPT, ADDED, DIGEST, OTHER[:20]))
    assert world.ingress._pipeline.policy.revision == ""
    assert world.ingress._pipeline.policy.routing.raised_from == "ideation"
    assert (world.is_known(KEPT), world.is_known(ADDED), world.is_known("")) == (True, False, False)
    assert world.ingress._live.drills == {"training"}
    assert world.get("/ready", "").json() == {
        "status": "ready",
        "engines": {"classifier": True, "counselor": True},
        "config_refused": ["keys"],
    }
    assert world.refused == ["keys"]


def test_all_is_changed_or_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A key is added, the memory's is replaced: neither comes in beside a policy that is refused, or before it."""
    world.serve(GOOD)
    vault = world.ingress._pipeline.memory.vault
    world.keys.write_text(f"client: {OTHER}\n")
    world.memory.write_text(MEMORY.replace("0a", "0b"))
    world.ingress.reconfigure({"routing": {"raised_frm": "x"}})
    assert world.ingress._pipeline.memory.vault is vault
    assert (world.is_known(KEPT), world.is_known(ADDED)) == (True, False)
    world.memory.write_text("index: 0f\n")
    world.ingress.reconfigure({"revision": 7})
    assert world.get("/ready", "").json()["config_refused"] == ["policy", "memory_keys"] == world.refused
    assert "keys memory" in caplog.text


def test_once_mended_it_is_taken_and_told_no_more(world: World) -> None:
    world.serve(GOOD)
    world.ingress.reconfigure({"routing": {"raised_frm": "x"}})
    world.keys.write_text(f"client: {OTHER}\n")
    world.ingress.reconfigure({"revision": "3"})
    assert world.ingress._pipeline.policy.revision == "3"
    assert (world.is_known(KEPT), world.is_known(ADDED)) == (False, True)
    assert "config_refused" not in world.get("/ready", "").json()
    assert 'psychechat_config_refused{part="policy"} 0.0' in world.get("/metrics", ADDED).text


def another(world: World, start: Callable[[Settings], Any]) -> World:
    """The same files and settings, and a replica that comes when the first one is gone, or beside it."""
    second = copy(world)
    second.ingress = start(world.settings)
    second.app = second.ingress.__serve_build_asgi_app__()
    return second


def test_a_replica_that_comes_later_begins_with_the_policy_that_was_served_last(
    world: World, start: Callable[[Settings], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Not with that of the settings, and it tells of it as a running one does, until a good one comes."""
    world.serve(GOOD)
    wrong = {"routing": {"raised_frm": "x"}}
    world.ingress.reconfigure(wrong)
    world.ingress.check_health()
    second = another(world, start)
    with caplog.at_level(logging.ERROR):
        second.serve(wrong)
    assert "policy: routing.raised_frm" in caplog.text
    assert second.ingress._pipeline.policy.routing.raised_from == "ideation"
    assert second.is_known(KEPT)
    assert second.get("/ready", "").json()["config_refused"] == ["policy"] == second.refused
    third = another(second, start)
    third.serve(wrong)
    assert third.ingress._pipeline.policy.routing.raised_from == "ideation"
    second.ingress.reconfigure({"revision": "3"})
    assert "config_refused" not in second.get("/ready", "").json()
    assert second.refused == []


def test_so_it_does_where_the_settings_themselves_have_the_wrong_one(
    world: World, start: Callable[[Settings], Any]
) -> None:
    world.serve(GOOD)
    wrong = crisis(backstop={"en": ["(the grey tunnel"], "zh": ["灰色"]})
    world.settings = world.settings.model_copy(update={"policy": Policy.model_validate(wrong)})
    second = another(world, start)
    assert second.refused == ["policy"]
    second.serve(wrong)
    assert second.ingress._pipeline.policy.routing.raised_from == "ideation"


def test_one_that_comes_later_refuses_where_keys_are_wrong_or_the_last_policy_is_no_good_any_more(
    world: World, start: Callable[[Settings], Any]
) -> None:
    world.serve(GOOD)
    second = another(world, start)
    wrong = {"routing": {"raised_frm": "x"}}
    world.keys.write_text("")
    with pytest.raises(ConfigRefused, match=r"policy: .*keys: "):
        second.ingress.reconfigure(wrong)
    world.keys.write_text(f"client: {DIGEST}\n")
    Cluster.last = {"routing": {"unknown_today": "x"}}
    with pytest.raises(ConfigRefused, match=r"policy: routing\.raised_frm"):
        second.ingress.reconfigure(wrong)


def test_no_policy_is_left_for_others_before_serve_has_taken_the_replica(world: World) -> None:
    world.ingress.reconfigure(GOOD)
    assert Cluster.last is None
    world.ingress.check_health()
    assert Cluster.last == GOOD


def test_only_a_start_refuses(world: World, start: Callable[[Settings], Any]) -> None:
    """The first: it has nothing to go on with, and its message is as Ray logs it."""
    with pytest.raises(ConfigRefused, match=r"policy: routing\.raised_frm"):
        world.ingress.reconfigure({"routing": {"raised_frm": "x"}})
    world.keys.write_text(f"{ADDED}: [")
    with pytest.raises(ConfigRefused, match=r"keys: auth\.keys_file: .*: not YAML") as refused:
        start(world.settings)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    assert ADDED not in str(refused.value)


def test_a_key_for_practice_opens_and_is_known_for_one(world: World) -> None:
    world.keys.write_text(yaml.safe_dump({"intake": DIGEST, "training": {"sha256": OTHER, "drill": True}}))
    world.serve({})
    assert (world.is_known(KEPT), world.is_known(ADDED)) == (True, True)
    assert world.ingress._live.drills == {"training"}
