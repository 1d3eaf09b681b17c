"""What the chart renders for the CPU demo, deployed on a Ray by `serve deploy`: both engines on vLLM, memory in Redis.

What differs from a pod: paths of secrets and of the model cache, ports, and that all is one node. As in a pod, only
/tmp, /dev/shm, home and the model cache can be written to, where the system lets a test say so.
"""

import hashlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from typer.testing import CliRunner

from psychechat_ray.cli import app as commands
from psychechat_ray.environment import HAPROXY
from tests.helm.charts import CHART, Helm, Manifest
from tests.support.ray_cluster import Cluster, ray_head
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.e2e, pytest.mark.engine]

KEY = "psy-the-one"
KNOWN = Path.home() / ".cache/vllm/modelinfos"
"""What vLLM knows of models that it has loaded before. Without it each engine looks at its own for ten seconds."""
READ_ONLY = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
READ_ONLY += [
    """for kept in /tmp "$0"; do mount --bind "$kept" "$kept"; done; mount -o remount,bind,ro / && exec "$@" """
]


def can_be_read_only() -> bool:
    return subprocess.run([*READ_ONLY, "/tmp", "true"], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def cluster(
    helm: Helm, redis_server: RedisServer, demo_classifier: Path, short_folder: Callable[[], Path]
) -> Iterator[tuple[Cluster, openai.OpenAI]]:
    folder = short_folder()
    (folder / "home").mkdir()
    if KNOWN.is_dir():
        shutil.copytree(KNOWN, folder / "home/.cache/vllm/modelinfos")
    (folder / "keys.yaml").write_text(f"client: {hashlib.sha256(KEY.encode()).hexdigest()}")
    (folder / "memory.yaml").write_text(CliRunner().invoke(commands, ["keys", "memory"]).stdout)
    (folder / "url").write_text(redis_server.url)
    values = CHART / "ci/cpu-demo-values.yaml"
    rendered = helm.render(values=values)
    groups = [json.loads(json.loads(g["rayStartParams"]["resources"])) for g in rendered.cluster["workerGroupSpecs"]]
    assert groups == [{"engine": 4}, {"ingress": 2}]
    with ray_head(
        folder,
        env=environment(rendered.pods["ingress"])
        | {
            "RAY_SERVE_HAPROXY_BINARY_PATH": str(HAPROXY),  # this environment's, not the image's
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
            "HOME": str(folder / "home"),
        },
        prefix=[*READ_ONLY, str(folder)] if can_be_read_only() else [],
        cpus=3,
        resources=json.dumps(groups[0] | groups[1]),
    ) as running:
        rendered = helm.render(
            *("secrets.apiKeys.existingSecret=", f"app.auth.keys_file={folder / 'keys.yaml'}"),
            *("secrets.memoryKeys.existingSecret=", f"app.memory.keys_file={folder / 'memory.yaml'}"),
            *(f"app.memory.url_file={folder / 'url'}", f"app.cache={demo_classifier.parent}"),
            f"app.port={running.port}",
            values=values,
        )
        running.deploy(rendered.serve_config)
        running.wait_until_ready(480)
        with openai.OpenAI(base_url=f"{running.url}/v1", api_key=KEY, max_retries=0, timeout=120) as client:
            yield running, client


@pytest.mark.skipif(not can_be_read_only(), reason="this user may not make a mount namespace")
def test_it_ran_on_a_root_that_cannot_be_written_to() -> None:
    assert subprocess.run([*READ_ONLY, "/tmp", "test", "-w", "/"]).returncode == 1


def environment(pod: Manifest) -> dict[str, str]:
    """The container's, but for what is about its file system."""
    [container] = pod["spec"]["containers"]
    return {v["name"]: v["value"] for v in container["env"] if v["name"].startswith(("RAY_", "PSYCHECHAT_HAPROXY_"))}


def test_a_turn_is_served(cluster: tuple[Cluster, openai.OpenAI], redis_server: RedisServer) -> None:
    _, client = cluster
    reply = client.chat.completions.create(
        model="psychechat", messages=[{"role": "user", "content": "I moved to a new city and miss my old friends."}]
    )
    assert reply.choices[0].message.content
    assert reply.choices[0].finish_reason == "stop"
    found: Any = reply.model_extra and reply.model_extra["psychechat"]
    assert found["mode"] == "llm"
    deadline = time.monotonic() + 30
    while not redis_server.everything():  # the first connection may take longer than a turn waits for its memory
        assert time.monotonic() < deadline, "turns leave nothing in Redis"
        client.chat.completions.create(model="psychechat", messages=[{"role": "user", "content": "I went for a walk."}])
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="psy-another").models.list()


def test_its_settings_are_those_of_the_chart(cluster: tuple[Cluster, openai.OpenAI]) -> None:
    running, _ = cluster
    deployments = running.application()["deployments"]
    assert {d["deployment_config"]["graceful_shutdown_timeout_s"] for d in deployments.values()} == {150}
    surges = {name: found["deployment_config"]["max_surge_percent"] for name, found in deployments.items()}
    assert surges == {"ingress": 100, "classifier": 0, "counselor": 0}
    assert deployments["ingress"]["deployment_config"]["user_config"] == {"admission": {"tokens": 4096}}
    assert deployments["ingress"]["deployment_config"]["ray_actor_options"]["resources"] == {"ingress": 1.0}


def test_the_front_answers_the_probe_that_kuberay_adds(cluster: tuple[Cluster, openai.OpenAI]) -> None:
    """A worker is ready once this answers so; until then the service has no such pod."""
    answer = httpx.get(f"{cluster[0].url}/-/healthz")
    assert (answer.status_code, "success" in answer.text) == (200, True)


def test_haproxy_has_the_bounds_of_the_chart(cluster: tuple[Cluster, openai.OpenAI]) -> None:
    [file] = cluster[0].folder.rglob("haproxy*.cfg")
    written = file.read_text()
    assert "hard-stop-after 120s" in written
    assert "timeout http-request 30s" in written
