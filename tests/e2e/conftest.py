"""One server for all end-to-end tests: the real command, Ray, HAProxy and both vLLM engines."""

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from benchmarks import servers
from benchmarks.servers import Server
from psychechat_ray.configurations import load
from tests.receiver import SECRET, Receiver, receiving

E2E = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(E2E):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    """Who is told of crises."""
    with receiving(200) as running:
        yield running


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Server]:
    settings = load("demo-cpu").model_dump(mode="json", exclude_unset=True) | {"escalation": {"url": receiver.url}}
    secret = {"PSYCHECHAT_ESCALATION_SECRET": SECRET}
    with servers.configured(settings, tmp_path_factory.mktemp("server"), env=secret) as running:
        yield running


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=120) as opened:
        yield opened
