"""Ports on this machine, looked at before Ray is: HAProxy's own complaint is long, and names a file."""

import socket


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_from(port: int) -> int:
    """This port, or the next one above it that every interface has free."""
    return next(number for number in range(port, 65536) if is_free("0.0.0.0", number))  # noqa: S104  HAProxy does
