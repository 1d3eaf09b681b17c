import secrets
from collections.abc import Iterator

import pytest

from psychechat.config import MemoryKeys
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def locks() -> MemoryKeys:
    keys = {"first": secrets.token_hex(32)}
    return MemoryKeys.model_validate({"index": secrets.token_hex(32), "encrypt_with": "first", "keys": keys})
