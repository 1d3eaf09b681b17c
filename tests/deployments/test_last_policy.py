"""The policy that was served last: kept beside Serve's own state, without anybody waiting for it."""

import logging
import threading
from collections.abc import Iterator

import pytest

from psychechat_ray import last_policy
from psychechat_ray.last_policy import LastPolicy
from tests.support.servers import wait_until


class Store:
    """The GCS of a cluster: what there is under a name, and whether it answers."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], bytes] = {}
        self.away, self.slow = False, threading.Event()
        self.slow.set()
        self.written = 0

    def named(self, name: str) -> "Named":
        return Named(self, name)


class Named:
    def __init__(self, store: Store, name: str) -> None:
        self._store, self._name = store, name

    def put(self, key: str, value: bytes) -> None:
        self._store.slow.wait(10)
        if self._store.away:
            raise ConnectionError
        self._store.written += 1
        self._store.values[self._name, key] = value

    def get(self, key: str) -> bytes | None:
        if self._store.away:
            raise ConnectionError
        return self._store.values.get((self._name, key))


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    made = Store()
    monkeypatch.setattr(last_policy, "_store", made.named)
    yield made
    made.slow.set()


def test_another_replica_finds_it_and_another_application_does_not(store: Store) -> None:
    policy = {"revision": "2", "guard": {"ending": {"zh": "到此为止"}}}
    LastPolicy("psychechat", "ingress").keep(policy)
    wait_until(lambda: store.written == 1, 10, "it was not written")
    assert LastPolicy("psychechat", "ingress").kept() == policy
    assert LastPolicy("trial", "ingress").kept() is None


def test_nobody_waits_for_it_and_the_newest_stays(store: Store) -> None:
    ours = LastPolicy("psychechat", "ingress")
    store.slow.clear()
    for revision in range(3):
        ours.keep({"revision": revision})
    assert store.written == 0
    store.slow.set()
    wait_until(lambda: store.written == 3, 10, "not all were written")
    assert ours.kept() == {"revision": 2}


def test_the_same_is_written_once(store: Store) -> None:
    ours, policy = LastPolicy("psychechat", "ingress"), {"revision": "1"}
    for _ in range(5):
        ours.keep(policy)
    ours.keep({"revision": "2"})
    wait_until(lambda: store.written == 2, 10, "not both were written")


def test_without_the_gcs_nothing_fails_and_it_is_kept_when_that_is_back(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    ours, policy = LastPolicy("psychechat", "ingress"), {"revision": "1"}
    store.away = True
    with caplog.at_level(logging.WARNING):
        assert ours.kept() is None
        ours.keep(policy)
        wait_until(lambda: "not kept yet" in caplog.text, 10, "nothing was said")
    store.away = False
    wait_until(lambda: ours._stored is None, 10, "it counts as written")
    ours.keep(policy)
    wait_until(lambda: store.written == 1, 10, "it was not written")
    assert ours.kept() == policy
