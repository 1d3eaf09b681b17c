"""What Ray reads from the environment while it is imported, so: before it is. vLLM, which Ray starts, reads it too."""

import os
import secrets
import sysconfig
from math import ceil
from pathlib import Path

from psychechat_ray.ports import free_from

DEFAULTS = {
    # HAProxy in front and the lean request path: an empty request takes 2.6 instead of 12.7 ms on two cores.
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",
    # The throughput mode would keep the replicas' logs in files only.
    "RAY_SERVE_LOG_TO_STDERR": "1",
    # A replica that is killed takes its engine's processes with it.
    "RAY_process_group_cleanup_enabled": "1",
    # Serve would otherwise do what some headers of a client's say.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "psychechat_ray.headers.middlewares",
    # A client that neither sends what it began nor reads what it is sent for this long is let go.
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "30",
    # A replica that says nothing for this long hangs: every turn has ended by then, or sent a keep-alive.
    "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": "600",
    # A HAProxy that goes lets go of connections without a request, and does not wait for their clients to.
    "RAY_SERVE_HAPROXY_CLOSE_SPREAD_TIME_S": "1",
    # Nobody has to be drained away from a server on one machine, so Ctrl-C need not wait for it.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    # How often replicas may fail to start is said by `start_attempts`. Serve would allow three times a replica at most.
    "RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT": "1000",
    "RAY_USAGE_STATS_ENABLED": "0",
    # vLLM would tell its makers of each start on a GPU. The second is a convention that other packages keep too.
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    # FlashInfer compiles its sampler on the GPU that it finds, with an nvcc that our image has not, and without it the
    # engine dies as it starts. vLLM's own needs Triton alone.
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
    # HAProxy would log each request's path and query string to whatever syslog listens on port 514. This is the
    # discard service's port, where nobody does.
    "RAY_SERVE_HAPROXY_LOG_TARGET": "127.0.0.1:9",
}
# HAProxy by way of `haproxy.py`. Ray would not start without a file that it is told of.
if (HAPROXY := Path(sysconfig.get_path("scripts"), "psychechat-haproxy")).is_file():
    DEFAULTS["RAY_SERVE_HAPROXY_BINARY_PATH"] = str(HAPROXY)
PORTS = {
    "RAY_SERVE_HAPROXY_STATS_PORT": 8404,
    "RAY_SERVE_HAPROXY_METRICS_PORT": 9101,
    # Where HAProxy turns while it has no ingress replica. With another server's here, that one would answer.
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": 8500,
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": 9500,
}

STOP_SECONDS = 30.0
"""What a replica or a HAProxy that goes has beyond the deadline of its last turn."""
TOKEN = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
"""Where Ray looks for it before ~/.ray/auth_token, which it would make itself, for others to read."""


def set_defaults() -> None:
    """What the caller has set stays. Ports move up where another server has them."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    for name, port in PORTS.items():
        os.environ.setdefault(name, str(free_from(port)))


def let_turns_end(turn_seconds: float) -> None:
    """Give a HAProxy that goes as long as a turn may take. What the caller has set stays."""
    os.environ.setdefault("RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S", str(ceil(turn_seconds + STOP_SECONDS)))


def keep_private(folder: Path) -> None:
    """Let nobody else into a Ray of our own. What the caller has set stays. `folder` must be this user's alone.

    What comes to Ray's ports is unpickled, so it takes a token. HAProxy's admin socket is open to all who can reach it
    where an operator's own HAProxy runs; its path may have 97 bytes, of which Ray and the name take 68.
    """
    os.environ.setdefault("RAY_SERVE_HAPROXY_SOCKET_PATH", str(folder / "admin.sock"))
    mode = os.environ.setdefault("RAY_AUTH_MODE", "token")
    if mode == "token" and not any(os.environ.get(name) for name in TOKEN):
        token = folder / "auth_token"
        token.touch(0o600)
        token.write_text(secrets.token_hex(32))
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)
