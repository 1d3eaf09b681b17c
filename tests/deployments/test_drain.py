"""A node goes while it holds turns: what runs before a pod is killed moves its replicas, and no turn is lost."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import typer
from ray.serve._private import constants
from ray.util.state import list_nodes

from psychechat_ray import drain
from psychechat_ray.drain import busy
from tests.support.ray_cluster import HASTE, Cluster, ray_worker
from tests.support.servers import answers, wait_until

OURS = {"num_cpus": 0, "resources": {"ours": 1}}
ENGINE = {"engine": "scripted", "replicas": OURS}
SETTINGS = {"ingress": OURS, "classifier": ENGINE, "counselor": {**ENGINE, "engine_args": {"seconds_per_word": 0.2}}}
"""A turn takes some four seconds."""
GRACEFUL_SECONDS = 30
DRAIN_SECONDS = 90


@pytest.mark.e2e
def test_a_node_that_goes_loses_no_turn(cluster: Cluster) -> None:
    with ray_worker(cluster, "old", env=HASTE, resources='{"ours": 9}') as old:
        cluster.serve(SETTINGS, graceful_shutdown_timeout_s=GRACEFUL_SECONDS)
        # Its own HAProxy hears of the application later than the head's.
        wait_until(lambda: answers(f"{old.url}/ready"), 60, "the node that is to go never answered")
        [leaving] = [n.node_id for n in list_nodes(cluster.dashboard) if n.state == "ALIVE" and not n.is_head_node]
        assert busy(leaving, cluster.dashboard)
        with ray_worker(cluster, "new", env=HASTE, resources='{"ours": 9}'):
            answered: list[httpx.Response | Exception] = []
            stop = threading.Event()

            def ask(url: str, more: bool) -> None:
                while True:
                    try:
                        answered.append(httpx.post(f"{url}/v1/chat/completions", json=TURN, timeout=120))
                    except httpx.HTTPError as error:
                        answered.append(error)
                    if stop.is_set() or not more:
                        return

            # Turns that are under way at the node that goes, and traffic through the head all the while.
            threads = [threading.Thread(target=ask, args=(old.url, False)) for _ in range(3)]
            threads += [threading.Thread(target=ask, args=(cluster.url, True)) for _ in range(3)]
            for thread in threads:
                thread.start()
            wait_until(lambda: turns_under_way(cluster) == len(threads), 30, "not all of them began")
            started = time.monotonic()
            subprocess.run(
                [
                    *(sys.executable, "-m", "psychechat_ray.drain", "--seconds", str(DRAIN_SECONDS)),
                    *("--node", leaving, "--address", cluster.gcs),
                ],
                check=True,
                timeout=DRAIN_SECONDS + 30,
            )
            took = time.monotonic() - started
            stop.set()
            for thread in threads:
                thread.join()
            assert took < DRAIN_SECONDS - 10, "it waited for nothing, or for ever"
            assert not busy(leaving, cluster.dashboard)
            assert [a.status_code if isinstance(a, httpx.Response) else repr(a) for a in answered] == [200] * len(
                answered
            )
            assert all(
                a.json()["choices"][0]["finish_reason"] == "stop" for a in answered if isinstance(a, httpx.Response)
            )
            assert len(answered) > 6


def turns_under_way(cluster: Cluster) -> int:
    """By the permits that they hold at the one ingress."""
    metrics = httpx.get(f"{cluster.url}/metrics", timeout=60).text.splitlines()
    [held] = [line for line in metrics if line.startswith("psychechat_permits{") and 'generation",state="held' in line]
    return int(float(held.rpartition(" ")[2]))


class Pod:
    """What the hook sees, by its own clock: Ray's answers, each after some seconds, and the pod's connections.

    `silent`: from when to when Ray gives no answer. `empty`: from when on nothing of Serve is there. `used`: until when
    somebody is connected.
    """

    def __init__(self, *, silent: tuple[float, float] = (0, 0), empty: float = 0, used: float = 0) -> None:
        self.silent, self.empty, self.used = silent, empty, used
        self.time = 0.0
        self.told_at: float | None = None

    def _answers(self) -> bool:
        self.time += 0.5
        return not self.silent[0] <= self.time < self.silent[1]

    def leave(self, remaining: float) -> str | None:
        if not self._answers():
            return None
        self.told_at = self.time
        return "node"

    def busy(self, node: str, remaining: float) -> bool | None:
        assert node == "node"
        assert 0 < remaining <= 195 - self.time
        return self.time < self.empty if self._answers() else None

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def drained(self, seconds: float = 195) -> bool:
        return drain.wait(
            seconds,
            leave=self.leave,
            busy=self.busy,
            in_use=lambda: self.time < self.used,
            now=lambda: self.time,
            sleep=self.sleep,
        )


FOR_EVER = (0, 1e9)


class TestWait:
    def test_it_ends_once_nothing_of_serve_is_there(self) -> None:
        pod = Pod(empty=40)
        assert pod.drained()
        assert 40 <= pod.time < 45

    def test_it_ends_when_the_pod_does(self) -> None:
        pod = Pod(empty=1e9)
        assert pod.drained()
        assert 195 <= pod.time < 196

    @pytest.mark.parametrize("silent", [(0, 30), (10, 50)], ids=["at first", "later"])
    def test_a_question_that_ray_does_not_answer_is_asked_again(self, silent: tuple[float, float]) -> None:
        pod = Pod(silent=silent, empty=70)
        assert pod.drained()
        assert 70 <= pod.time < 75
        assert pod.told_at is not None

    @pytest.mark.parametrize("silent", [FOR_EVER, (20, 1e9)], ids=["at first", "later"])
    def test_a_ray_that_is_gone_holds_no_pod_that_nobody_uses(self, silent: tuple[float, float]) -> None:
        """As where the whole cluster is deleted: its head goes at once, and the pods' GPUs wait for the hook."""
        pod = Pod(silent=silent, empty=1e9)
        assert pod.drained() == (silent != FOR_EVER)
        assert 58 <= pod.time - silent[0] < 65  # from the last answer

    def test_a_ray_that_is_gone_ends_no_turn(self) -> None:
        pod = Pod(silent=FOR_EVER, used=100)
        assert not pod.drained()
        assert 100 <= pod.time < 105

    def test_silence_counts_from_the_last_answer(self) -> None:
        pod = Pod(silent=(50, 100), empty=130)
        assert pod.drained()
        assert pod.time >= 130


def test_an_answer_comes_from_another_process_and_no_answer_from_one_that_died() -> None:
    assert drain.ask(os.getpid) != os.getpid()
    assert drain.ask(lambda: False) is False
    assert drain.ask(lambda: os._exit(1)) is None
    assert drain.ask(lambda: 1 / 0) is None


def test_a_question_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drain.ask(lambda: signal.pause(), 0.05) is None
    monkeypatch.setattr(drain, "QUESTION_SECONDS", 0.05)
    assert drain.ask(lambda: signal.pause(), 60) is None


class TestSilentRay:
    """It accepts, and never answers. What the hook overruns, Ray's processes lack for their end: they are killed."""

    SECONDS = 4
    MOST = SECONDS + 6
    """For what was asked to be killed on a machine that is busy. By itself a question is given up after 40 s."""

    def test_a_question_takes_no_longer_than_the_node_has(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(drain, "leave", lambda node, address, remaining: node)
        with socket.create_server(("127.0.0.1", 0), backlog=100) as ray:  # the kernel accepts, and nobody reads
            begun = time.monotonic()
            drain.drain(self.SECONDS, "node", f"http://127.0.0.1:{ray.getsockname()[1]}")
            assert self.SECONDS <= time.monotonic() - begun < self.MOST

    def test_nor_does_rays_command_which_is_not_left_behind(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        command = tmp_path / "ray"
        command.write_text("#!/bin/sh\nwhile :; do sleep 1; done\n")
        command.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
        begun = time.monotonic()
        with pytest.raises(typer.Exit):
            drain.drain(self.SECONDS, "node", None)
        assert self.SECONDS <= time.monotonic() - begun < self.MOST
        assert not [p for p in psutil.process_iter(["cmdline"]) if str(command) in (p.info["cmdline"] or ())]


SERVER = """
import socket, sys
listener = socket.create_server(("127.0.0.3", int(sys.argv[1])))
print(listener.getsockname()[1], flush=True)
held = []
while True:
    held.append(listener.accept()[0])
    held[-1].send(b"!")
"""


@contextmanager
def serving(title: str, program: Path = Path(sys.executable), port: int = 0) -> Iterator[int]:
    """A process of this title that listens, and the port."""
    command: list[str | Path] = [program, "-c", SERVER, str(port), title]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def connected(port: int, source: str) -> Iterator[None]:
    with socket.create_connection(("127.0.0.3", port), source_address=(source, 0)) as connection:
        assert connection.recv(1) == b"!"  # until it is accepted it is nobody's
        yield


class TestInUse:
    """With real processes and connections. Addresses of loopback stand for machines."""

    @pytest.fixture(autouse=True)
    def _alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever else this machine serves is none of this pod's."""

        def own(names: list[str]) -> Iterator[psutil.Process]:
            for process in psutil.Process().children():
                process.info = process.as_dict(names)
                yield process

        monkeypatch.setattr(psutil, "process_iter", own)

    def test_an_engine_that_an_ingress_elsewhere_is_connected_to(self) -> None:
        with serving("ray::ServeReplica:psychechat:counselor") as port:
            assert not drain.in_use()
            with connected(port, "127.0.0.2"):
                assert drain.in_use()

    def test_its_own_machine_does_not_count(self) -> None:
        """Ray's own processes hold connections to every worker."""
        with serving("ray::ServeReplica:psychechat:counselor") as port, connected(port, "127.0.0.3"):
            assert not drain.in_use()

    def test_no_other_process_does(self) -> None:
        with serving("ray::IDLE") as port, connected(port, "127.0.0.2"):
            assert not drain.in_use()

    def test_an_ingress_by_its_http_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Engines that it has asked for something are connected to it too, and wait for it in turn."""
        with serving("ray::ServeReplica:psychechat:ingress") as port, connected(port, "127.0.0.2"):
            monkeypatch.setattr(constants, "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT", port)
            monkeypatch.setattr(constants, "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT", port)
            assert drain.in_use()

    def test_haproxy_by_its_clients(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        program = tmp_path / "haproxy"
        program.symlink_to(sys.executable)
        with serving("", program) as port, connected(port, "127.0.0.3"):
            assert drain.in_use()
            monkeypatch.setattr(constants, "RAY_SERVE_HAPROXY_METRICS_PORT", port)  # Prometheus's connection stays
            assert not drain.in_use()


TURN = {"model": "psychechat-llm", "messages": [{"role": "user", "content": "I went for a walk."}]}
