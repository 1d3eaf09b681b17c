"""Writes all that a Ray's control store holds: `python -m tests.support.ray_tables PORT`."""

import asyncio
import sys
from typing import Any

from ray import _raylet
from ray._private.gcs_utils import GcsChannel
from ray.util.state.state_manager import StateDataSourceClient

TABLES = ("actor", "task", "worker")
NAMESPACES = (b"", b"serve", b"fun", b"actor", b"job")


async def tell(address: str) -> None:
    raylet: Any = _raylet
    store = raylet.GcsClient(address=address)
    for namespace in NAMESPACES:
        for key in store.internal_kv_keys(b"", namespace or None):
            value = store.internal_kv_get(key, namespace or None) or b""
            sys.stdout.buffer.write(b"%s %s\n%s\n" % (namespace, key, value))
    channel: Any = GcsChannel(gcs_address=address, aio=True)
    channel.connect()
    client: Any = StateDataSourceClient(channel.channel(), store)
    for table in TABLES:
        found = await getattr(client, f"get_all_{table}_info")()
        sys.stdout.buffer.write(b"%s\n%s\n" % (table.encode(), found.SerializeToString()))
    sys.stdout.flush()


asyncio.run(tell(f"127.0.0.1:{sys.argv[1]}"))
