"""Containers out of namespaces are what a manifest promises, and are gone when they end. As root."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cluster.container import inside

ROOT = Path(__file__).parents[3]
PLAY = """
import json, signal, sys, time
from pathlib import Path
from benchmarks.cluster.container import Container, Mount, Sandbox, User, make_bridge

folder = Path(sys.argv[1])
make_bridge()
pods = [Sandbox(f"pod-{number}", number) for number in (2, 3)]
(folder / "volume").mkdir()
(folder / "volume").chmod(0o777)
log = (folder / "log").open("wb")

def start(pod, script):
    return Container(
        pod, folder / f"root-{pod.ip}-{time.monotonic()}", ["bash", "-c", script], env={"WHO": "a pod"}, log=log,
        mounts=[Mount(folder / "volume", "/volume")], user=User(1000, 1000, 1000), read_only=True, folder="/volume",
    )

one = start(pods[0], "trap 'exit 3' TERM; python -m http.server 8000 & while :; do sleep 0.1; done")
ask = "id -u; hostname; echo $WHO; touch /no /usr/no 2>/dev/null; touch /volume/yes && ls /volume; "
ask += "grep CapEff /proc/self/status"
found = {"inside": one.execute(["bash", "-c", ask], 10)[1].decode().split("\\n")}
other = start(pods[1], f"until wget -q -O- http://{pods[0].ip}:8000; do sleep 0.1; done")
found["reached"] = other.wait(20), other.status()
found["late"] = [one.execute(["bash", "-c", "sleep 100 | grep x && true"], 0.3)[0] for _ in range(5)]
began = time.monotonic()
one.signal(signal.SIGTERM)
found["ended"] = one.wait(5), one.status(), time.monotonic() - began < 5
two = start(pods[0], "trap '' TERM; while :; do sleep 0.1; done")
two.execute(["sleep", "100"], 0.2)
two.signal(signal.SIGTERM)
found["stays"] = two.wait(0.3)
two.signal(signal.SIGKILL)
found["killed"] = two.wait(5)
print(json.dumps(found))
"""


def may() -> bool:
    return os.geteuid() == 0 and subprocess.run(inside(["ip", "link", "add", "type", "bridge"])).returncode == 0


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if not may():
        pytest.skip("takes root, and namespaces")
    folder = tmp_path_factory.mktemp("containers")
    done = subprocess.run(
        inside([sys.executable, "-c", PLAY, str(folder)]), cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_container_is_its_user_on_its_pod_and_writes_to_its_volumes_alone(found: dict[str, Any]) -> None:
    assert found["inside"] == ["1000", "pod-2", "a pod", "yes", "CapEff:\t0000000000000000", ""]


def test_a_pod_reaches_another_by_its_address(found: dict[str, Any]) -> None:
    assert found["reached"] == [True, 0]


def test_a_container_is_told_to_stop_by_sigterm_and_stopped_by_sigkill(found: dict[str, Any]) -> None:
    assert found["ended"][:2] == [True, 3]
    assert (found["stays"], found["killed"]) == (False, True)


def test_a_probe_that_took_too_long_does_not_keep_a_container_from_ending(found: dict[str, Any]) -> None:
    """Its process is nobody's child then, and a container's processes have to be buried before it is gone."""
    assert found["late"] == [None] * 5
    assert found["ended"] == [True, 3, True]
