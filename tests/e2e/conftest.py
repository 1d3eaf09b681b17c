"""One server for all end-to-end tests: the real command, Ray, HAProxy and both vLLM engines.

It ends with the last of them: what does nothing takes from the tests that come then.
"""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.support import servers
from tests.support.collector import Collector, collecting, exporting_to
from tests.support.durations import REPORTING
from tests.support.prometheus import Prometheus, is_installed, watching
from tests.support.receiver import SECRET, Receiver, receiving
from tests.support.servers import Server

E2E = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(E2E):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="package")
def receiver() -> Iterator[Receiver]:
    """Who is told of crises."""
    with receiving(200) as running:
        yield running


@pytest.fixture(scope="package")
def collector() -> Iterator[Collector]:
    """Who is told of traces."""
    with collecting() as running:
        yield running


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver, collector: Collector) -> Iterator[Server]:
    settings = servers.demo() | {"escalation": {"url": receiver.url}}
    env = {
        "PSYCHECHAT_ESCALATION_SECRET": SECRET,
        **REPORTING,
        **exporting_to(collector),
    }
    with servers.configured(settings, tmp_path_factory.mktemp("server"), env=env) as running:
        yield running


@pytest.fixture(scope="package")
def plane(server: Server) -> str:
    """Where Prometheus finds all metrics, as the server says."""
    deadline = time.monotonic() + 30
    while not (found := re.search(r"Metrics for Prometheus: (\S+)\n", server.log.read_text())):
        assert time.monotonic() < deadline  # it says so a moment after it is ready
        time.sleep(0.1)
    return found[1]


@pytest.fixture(scope="package")
def prometheus(plane: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus | None]:
    """None where none is installed."""
    if not is_installed():
        yield None
        return
    with watching(plane, tmp_path_factory.mktemp("prometheus")) as running:
        yield running


@pytest.fixture(scope="package")
def client(server: Server, prometheus: Prometheus | None) -> Iterator[openai.OpenAI]:
    """While Prometheus looks on, so that it has seen whole minutes when it is asked."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=120) as opened:
        yield opened
