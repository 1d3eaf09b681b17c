"""What only Redis can do to a memory: go away, be read by others, be filled by others."""

import asyncio
import ipaddress
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from psychechat.config import MemoryKeys, SettingsError
from psychechat.conversation import EmotionAnalysis, EmotionMemory
from psychechat.emotion import Group, Label
from psychechat.memory.base import Unreadable
from psychechat.memory.redis import RedisMemory
from psychechat.memory.vault import Vault
from tests.support.redis_server import RedisServer, programs, tls_programs

pytestmark = pytest.mark.asyncio

ONE, TWO, SESSION = b"1" * 32, b"2" * 32, b"s" * 32
CANARY = "zanzibarquux"
MEMORY = EmotionMemory(
    f"session {CANARY}", "en", (Label(Group.JOY, 2),), EmotionAnalysis((Label(Group.JOY, 2),), CANARY, CANARY)
)


@pytest_asyncio.fixture
async def memory(redis_server: RedisServer, locks: MemoryKeys) -> AsyncIterator[RedisMemory]:
    redis_server.flush()
    opened = RedisMemory(redis_server.url, Vault(locks), 60)
    yield opened
    await opened.close()


async def test_two_processes_with_the_same_keys_share_it(
    memory: RedisMemory, redis_server: RedisServer, locks: MemoryKeys
) -> None:
    other = RedisMemory(redis_server.url, Vault(locks), 60)
    await memory.remember([ONE], MEMORY, session=SESSION, age=0)
    assert await other.recall(ONE) == MEMORY
    await other.forget(SESSION)
    assert await memory.recall(ONE) is None
    await other.close()


async def test_whoever_reads_redis_reads_nothing(memory: RedisMemory, redis_server: RedisServer) -> None:
    await memory.remember([ONE, TWO], MEMORY, session=SESSION, age=0)
    await memory.forget(b"another" + SESSION)
    seen = redis_server.everything()
    assert len(seen) == 4  # two values, what their session stored, and what was forgotten
    text = b"\n".join([*seen, *(part for parts in seen.values() for part in parts)])
    for word in (CANARY.encode(), b"analysis", b"joy", b"session ", ONE, TWO, SESSION):
        assert word not in text
    with redis.Redis.from_url(redis_server.url) as client:
        assert all(0 < client.ttl(key) <= 86_400 for key in seen)


async def test_forgetting_leaves_a_time_and_nothing_else(memory: RedisMemory, redis_server: RedisServer) -> None:
    for number in range(50):
        keys = [number.to_bytes(32), (number + 1_000).to_bytes(32), SESSION]
        await memory.remember(keys, MEMORY, session=SESSION, age=0)
    await memory.forget(SESSION)
    [(key, [at])] = redis_server.everything().items()
    assert key.startswith(b"psychechat:forgotten:")
    assert float(at) == pytest.approx(time.time(), abs=5)


async def test_forgetting_is_complete_when_the_time_to_live_was_changed(
    memory: RedisMemory, redis_server: RedisServer, locks: MemoryKeys
) -> None:
    """A value of the longer time outlives all of the shorter one, and so must what finds it."""
    shorter = RedisMemory(redis_server.url, Vault(locks), 1)
    await memory.remember([ONE], MEMORY, session=SESSION, age=0)
    await shorter.remember([TWO], MEMORY, session=SESSION, age=0)
    await asyncio.sleep(2.1)  # real seconds, and whole ones: Redis itself lets values expire
    await shorter.remember([TWO], MEMORY, session=SESSION, age=0)
    [index] = [names for key, names in redis_server.everything().items() if b":session:" in key]
    assert len(index) == 2
    await shorter.forget(SESSION)
    assert await memory.recall(ONE) is None
    await shorter.close()


async def test_a_session_that_goes_on_forever_drops_what_has_expired(
    redis_server: RedisServer, locks: MemoryKeys
) -> None:
    redis_server.flush()
    memory = RedisMemory(redis_server.url, Vault(locks), 1)
    await memory.remember([ONE], MEMORY, session=SESSION, age=0)
    await asyncio.sleep(1.1)  # real, as above
    await memory.remember([TWO], MEMORY, session=SESSION, age=0)
    [index] = [names for key, names in redis_server.everything().items() if b":session:" in key]
    assert len(index) == 1
    await memory.close()


@pytest.mark.parametrize("how", ["damaged", "swapped", "text", "of another key"])
async def test_what_someone_else_wrote_there_is_unreadable(
    memory: RedisMemory, redis_server: RedisServer, how: str
) -> None:
    await memory.remember([ONE], MEMORY, session=SESSION, age=0)
    await memory.remember([TWO], EmotionMemory("other", "zh"), session=b"t" * 32, age=0)
    with redis.Redis.from_url(redis_server.url) as client:
        one, two = sorted(client.keys("psychechat:memory:*"))
        value = client.get(one)
        assert isinstance(value, bytes)
        stranger = Vault(MemoryKeys.model_validate(_keys("first")))
        wrong = {
            "damaged": value[:-1] + bytes([value[-1] ^ 1]),
            "swapped": client.get(two),
            "text": b"\xff hello",
            "of another key": stranger.seal(ONE, MEMORY),
        }
        client.set(one, wrong[how])
    with pytest.raises(Unreadable):
        await memory.recall(ONE)


async def test_keys_are_changed_while_it_runs(memory: RedisMemory) -> None:
    old, new = _keys("old"), _keys("new")
    memory.vault = Vault(MemoryKeys.model_validate(old))
    await memory.remember([ONE], MEMORY, session=SESSION, age=0)
    memory.vault = Vault(MemoryKeys.model_validate({**new, "keys": {**old["keys"], **new["keys"]}}))
    await memory.remember([TWO], MEMORY, session=SESSION, age=0)
    assert await memory.recall(ONE) == await memory.recall(TWO) == MEMORY
    memory.vault = Vault(MemoryKeys.model_validate(new))
    assert await memory.recall(TWO) == MEMORY
    with pytest.raises(Unreadable):
        await memory.recall(ONE)


async def test_it_heals_when_redis_is_back(tmp_path: Path, locks: MemoryKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty at once on a busy machine: that it answers in time is another test's."""
    for bound in ("_CONNECT_SECONDS", "_ANSWER_SECONDS"):
        monkeypatch.setattr(f"psychechat.memory.redis.{bound}", 30.0)
    server = RedisServer(tmp_path)
    memory = RedisMemory(server.url, Vault(locks), 60)
    keys = [bytes([n]) * 32 for n in range(50)]
    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            await memory.recall(ONE)
        with server:
            await asyncio.gather(*(memory.remember([key], MEMORY, session=SESSION, age=0) for key in keys))
            assert await asyncio.gather(*map(memory.recall, keys)) == [MEMORY] * 50
    await memory.close()


async def test_a_redis_that_was_restarted_costs_no_turn_its_memory(tmp_path: Path, locks: MemoryKeys) -> None:
    with RedisServer(tmp_path) as server:
        memory = RedisMemory(server.url, Vault(locks), 60)
        await memory.remember([ONE], MEMORY, session=SESSION, age=0)
        server.kill()
        server.start()
        assert await memory.recall(ONE) is None  # over the connection that broke
        await memory.close()


async def test_a_redis_that_hangs_is_given_up_soon(tmp_path: Path, locks: MemoryKeys) -> None:
    with RedisServer(tmp_path) as server:
        memory = RedisMemory(server.url, Vault(locks), 60)
        await memory.remember([ONE], MEMORY, session=SESSION, age=0)
        with server.stopped():
            started = time.monotonic()
            results = await asyncio.gather(*(memory.recall(ONE) for _ in range(100)), return_exceptions=True)
            assert time.monotonic() - started < 3
            assert all(isinstance(result, redis.RedisError) for result in results)
        assert await memory.recall(ONE) == MEMORY
        await memory.close()


async def test_the_user_that_the_documentation_makes_can_do_all_and_no_more(tmp_path: Path, locks: MemoryKeys) -> None:
    operations = (Path(__file__).parents[3] / "docs" / "operations.md").read_text("utf-8")
    [rule] = [line.strip() for line in operations.splitlines() if line.strip().startswith("ACL SETUSER")]
    with RedisServer(tmp_path, program=programs()[-1]) as server:  # the system's, which is newer, if there is one
        with redis.Redis.from_url(server.url) as client:
            client.execute_command(*rule.replace("PASSWORD", "p@ss/w:rd").split())
            client.execute_command("ACL", "SETUSER", "default", "off")
        memory = RedisMemory(f"redis://psychechat:p%40ss%2Fw%3Ard@127.0.0.1:{server.port}/0", Vault(locks), 60)
        await memory.remember([ONE], MEMORY, session=SESSION, age=0)
        assert await memory.recall(ONE) == MEMORY
        await memory.forget(SESSION)
        assert await memory.recall(ONE) is None
        for forbidden in (memory._redis.get("another application's"), memory._redis.flushall()):
            with pytest.raises(redis.exceptions.NoPermissionError):
                await forbidden
        await memory.close()


async def test_a_wrong_password_is_not_shown(tmp_path: Path, locks: MemoryKeys) -> None:
    with RedisServer(tmp_path, "--requirepass", "the-right-one") as server:
        memory = RedisMemory(server.url.replace("//", "//:the-wrong-one@"), Vault(locks), 60)
        with pytest.raises(redis.AuthenticationError) as refused:
            await memory.recall(ONE)
        assert "the-wrong-one" not in repr(refused.value) + repr(memory._redis)
        await memory.close()


@dataclass
class Certificate:
    cert: Path
    key: Path


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """Self-signed, for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "redis")])
    now = datetime.now(UTC)
    cert = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    made = Certificate(tmp_path / "cert.pem", tmp_path / "key.pem")
    made.cert.write_bytes(cert.public_bytes(pem))
    made.key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return made


async def test_over_tls_it_trusts_no_stranger(tmp_path: Path, certificate: Certificate, locks: MemoryKeys) -> None:
    options = ["--tls-cert-file", str(certificate.cert), "--tls-key-file", str(certificate.key)]
    options += ["--tls-ca-cert-file", str(certificate.cert), "--tls-auth-clients", "no"]
    able = tls_programs()
    if not able:
        pytest.skip("no redis-server here was built with TLS; that of the system's package redis-server is")
    with RedisServer(tmp_path, *options, program=able[0], tls=True) as server:
        trusting = RedisMemory(f"rediss://127.0.0.1:{server.port}?ssl_ca_certs={certificate.cert}", Vault(locks), 60)
        await trusting.remember([ONE], MEMORY, session=SESSION, age=0)
        assert await trusting.recall(ONE) == MEMORY
        await trusting.close()
        for url in (f"rediss://127.0.0.1:{server.port}", f"redis://127.0.0.1:{server.port}"):
            stranger = RedisMemory(url, Vault(locks), 60)
            with pytest.raises(redis.ConnectionError):
                await stranger.recall(ONE)
            await stranger.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:6379",
        "http://:hunter2@host",
        "redis://:hunter2@",
        "redis://:hun#ter2@host",
        "redis://:hunter2@host:port",
        "redis://:hunter2@host:99999",
        "redis://:hunter2@host/name",
        "redis://:hunter2@host?hunter2=1",
        "redis://:hunter2@[::1",
        "rediss://:hunter2@host?ssl_ca_certs=/nowhere",
        "rediss://:hunter2@host?ssl_cert_reqs=hunter2",
    ],
)
async def test_a_wrong_url_is_refused_at_once_and_not_shown(url: str, locks: MemoryKeys) -> None:
    with pytest.raises(SettingsError, match="or PSYCHECHAT_REDIS_URL") as refused:
        RedisMemory(url, Vault(locks), 60)
    assert "hun" not in str(refused.value)
    assert refused.value.__cause__ is None


def _keys(name: str) -> dict[str, Any]:
    return {"index": "0" * 64, "encrypt_with": name, "keys": {name: secrets.token_hex(32)}}
