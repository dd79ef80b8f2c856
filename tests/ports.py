"""Ports for servers that are processes of their own."""

import itertools
import os
import socket

# Below the range that the system hands out by itself, so that nobody gets one while its server is down for a moment.
FIRST, LAST = 20_000, 30_000
_steps = itertools.count()


def free_port() -> int:
    """A port that nobody listens on at this moment, another one at every call."""
    for step in _steps:
        port = FIRST + (os.getpid() * 97 + step) % (LAST - FIRST)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable: the steps never end")


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody listens on."""
    first = free_port()
    for _ in range(count - 1):
        assert free_port() > first
    return first
