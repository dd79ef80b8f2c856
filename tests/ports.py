"""Ports for servers that are processes of their own."""

import itertools
import os
import socket

# Below the range that the system hands out by itself, so that nobody gets one while its server is down for a moment;
# and so is the second port that RabbitMQ takes, which is 20,000 above its first.
FIRST, LAST = 10_000, 12_700
_steps = itertools.count()


def free_port() -> int:
    """A port that nobody listens on at this moment, another one at every call."""
    for step in _steps:
        port = FIRST + (os.getpid() * 997 + step) % (LAST - FIRST)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable: the steps never end")


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody listens on."""
    while True:
        ports = [free_port() for _ in range(count)]
        if ports[-1] == ports[0] + count - 1:
            return ports[0]
