"""Memory in Redis, shared by all ingress replicas. What Redis sees are hashes and sealed values.

psychechat:memory:HASH       a value, or a hold, which expires by itself
psychechat:session:HASH      the names of all that a session has stored but holds, by when they expire
psychechat:forgotten:HASH    when a session was forgotten, kept until no turn of before can be under way
"""

import base64
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisError
from redis.maint_notifications import MaintNotificationsConfig

from psychechat.config import SettingsError
from psychechat.conversation import EmotionMemory
from psychechat.memory.base import TOMBSTONE_SECONDS, Unreadable, graver, merged
from psychechat.memory.vault import Vault

_CONNECTIONS = 32
_CONNECT_SECONDS = 0.25
_ANSWER_SECONDS = 0.5
"""Both are short: every turn asks again, so a Redis that is back is noticed at once."""

_LATE_SECONDS = 1.0
"""A turn's age is older by up to this when it arrives: the time that the pipeline gives a call."""

_CONFLICT = 2
"""The script's answer where a value is not what it was a moment ago."""
_TRIES = 5

_DATABASE = re.compile("/?[0-9]*")

# One script each, so that none is ever half done. The clock is Redis's: those of the replicas may differ.

_REMEMBER = """
local tombstone, index, age, ttl = KEYS[1], KEYS[2], tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local forgotten = redis.call('GET', tombstone)
if forgotten and now - age <= tonumber(forgotten) then
  return 0
end
for i = 3, #KEYS do
  if (redis.call('GET', KEYS[i]) or '') ~= ARGV[#KEYS + i - 2] then
    return 2
  end
end
for i = 3, #KEYS do
  redis.call('SET', KEYS[i], ARGV[i], 'EX', ttl)
  redis.call('ZADD', index, now + ttl, KEYS[i])
end
redis.call('ZREMRANGEBYSCORE', index, '-inf', now)
local last = redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')
redis.call('EXPIREAT', index, math.ceil(last[2]) + 1)
return 1
"""

_REMEMBER_HOLD = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
  return 2
end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""

_FORGET = """
local tombstone, index, ttl = KEYS[1], KEYS[2], ARGV[1]
local time = redis.call('TIME')
redis.call('SET', tombstone, time[1] + time[2] / 1000000, 'EX', ttl)
for _, key in ipairs(redis.call('ZRANGE', index, 0, -1)) do
  redis.call('DEL', key)
end
redis.call('DEL', index)
"""


class RedisMemory:
    """Connects when it is first asked, and again whenever the connection is lost."""

    def __init__(self, url: str, vault: Vault, ttl_seconds: int) -> None:
        """`vault` may be replaced at any time. Raises SettingsError if the URL is wrong, never for what Redis does."""
        self.vault = vault
        self._ttl = ttl_seconds
        self._redis = Redis.from_pool(_pool(url))
        self._remember = self._redis.register_script(_REMEMBER)
        self._remember_hold = self._redis.register_script(_REMEMBER_HOLD)
        self._forget = self._redis.register_script(_FORGET)

    async def recall(self, key: bytes) -> EmotionMemory | None:
        value: Any = await self._redis.get(_name("memory", key))
        return None if value is None else self.vault.unseal(key, value)

    async def remember(self, keys: Sequence[bytes], memory: EmotionMemory, *, session: bytes, age: float) -> bool:
        places = [_name("memory", key) for key in keys]
        names = [_name("forgotten", session), _name("session", session), *places]
        answer = _CONFLICT
        for _ in range(_TRIES):
            there: list[Any] = [await self._redis.get(place) for place in places]
            values = [
                self.vault.seal(key, merged(memory, self._read(key, old))) for key, old in zip(keys, there, strict=True)
            ]
            answer = await self._remember(
                names, [age + _LATE_SECONDS, self._ttl, *values, *(old or b"" for old in there)]
            )
            if answer != _CONFLICT:
                return bool(answer)
        raise RedisError("other turns of the session wrote all the while")

    async def remember_hold(self, keys: Sequence[bytes], hold: EmotionMemory) -> None:
        for key in keys:  # one after the other: where many conversations end alike, each may fail alone
            place = _name("memory", key)
            for _ in range(_TRIES):
                there: Any = await self._redis.get(place)
                value = self.vault.seal(key, graver(hold, self._read(key, there)))
                if await self._remember_hold([place], [there or b"", value, self._ttl]) != _CONFLICT:
                    break
            else:
                raise RedisError("other conversations wrote all the while")

    def _read(self, key: bytes, value: bytes | None) -> EmotionMemory | None:
        """A value to merge with. What cannot be read is overwritten."""
        try:
            return None if value is None else self.vault.unseal(key, value)
        except Unreadable:
            return None

    async def forget(self, session: bytes) -> None:
        await self._forget([_name("forgotten", session), _name("session", session)], [TOMBSTONE_SECONDS])

    async def close(self) -> None:
        await self._redis.aclose()


def _name(kind: str, key: bytes) -> bytes:
    return b"psychechat:%s:%s" % (kind.encode(), base64.urlsafe_b64encode(key).rstrip(b"="))


def _pool(url: str) -> BlockingConnectionPool:
    """All that can be wrong with a URL is found here, before anyone connects. No message shows it: it is a secret."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "rediss") or not parts.hostname or not _DATABASE.fullmatch(parts.path):
            raise ValueError
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=_ANSWER_SECONDS,
            socket_connect_timeout=_CONNECT_SECONDS,
            socket_timeout=_ANSWER_SECONDS,
            # A connection that broke while nobody used it costs no turn its memory.
            retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)),
            maint_notifications_config=MaintNotificationsConfig(enabled=False),  # they would move us, and wait longer
        )
        connection = pool.make_connection()  # type: ignore[no-untyped-call]  # refuses options that there are not
        if isinstance(connection, SSLConnection):
            connection.ssl_context.get()  # reads the certificates that the URL names
    except (ValueError, TypeError, OSError, RedisError) as error:
        raise SettingsError(
            "Redis's URL (memory.url_file or PSYCHECHAT_REDIS_URL) is wrong: it should read "
            "rediss://USER:PASSWORD@HOST:PORT/DB, with %-escapes for what is special in the password, and after a '?' "
            f"only options of redis-py and certificates that can be read ({type(error).__name__})."
        ) from None
    return pool
