"""PostgreSQL, Redis and RabbitMQ of an installation's own: started, killed, and emptied. Calls block."""

import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from app.core.embedded_postgres import EmbeddedPostgres
from app.core.postmaster import running_postmaster

START_SECONDS = 60.0
POLL_SECONDS = 0.05
# Debian's command on the path changes its user and directory; the one behind it obeys the environment.
RABBITMQ_PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
# RabbitMQ talks to its own tools on a port so far above that of its clients.
DISTRIBUTION = 20_000


class ServerMissing(Exception):
    """A program that is not installed, or a server that does not come up."""


class Server(Protocol):
    """What every one of them can do."""

    name: str

    @property
    def url(self) -> str:
        """Where clients find it."""
        ...

    def start(self) -> None:
        """Return once it answers; ServerMissing where it cannot."""
        ...

    def kill(self) -> None:
        """End it at once; what it keeps in memory alone is gone."""
        ...

    def stop(self) -> None:
        """End it in order; harmless where it does not run."""
        ...


class PostgresServer:
    """PostgreSQL of the project's own package, in a folder."""

    name = "postgres"

    def __init__(self, folder: Path) -> None:
        self._postgres = EmbeddedPostgres(folder)
        self._is_owned = False

    @property
    def url(self) -> str:
        """SQLAlchemy's address, on a socket."""
        return self._postgres.url

    def start(self) -> None:
        """Become the owner of the folder's server, or bring a killed one up again."""
        if self._is_owned:
            self._postgres.ensure_running()
            return
        self._postgres.start()
        self._is_owned = True

    def kill(self) -> None:
        """End it as a crash would; what was committed is there at the next start."""
        cluster = self._postgres.placement.cluster
        running = running_postmaster(cluster)
        if running is None:
            return
        os.kill(running.pid, signal.SIGKILL)
        # A start that comes before the process is gone finds it running, and does nothing.
        deadline = time.monotonic() + START_SECONDS
        while running_postmaster(cluster) is not None:
            if time.monotonic() > deadline:
                raise ServerMissing(f"{self.name} does not end; it is process {running.pid}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """End it in order."""
        self._postgres.stop()
        self._is_owned = False


class _Spawned(ABC):
    """A server that is one process on a port of 127.0.0.1, and its output a file."""

    def __init__(self, name: str, port: int, folder: Path) -> None:
        self.name = name
        self.port = port
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def _spawn(self, command: list[str], environment: Mapping[str, str]) -> None:
        """Start it in a group of its own, so that Ctrl-C reaches its owner alone and a kill reaches its children."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerMissing(f"{self.name} does not come up; see {self.folder / self.name}.log")
            time.sleep(POLL_SECONDS)

    def kill(self) -> None:
        """End it at once, with its children."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it and its children; SIGSTOP lets it hang with its connections open."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def _end(self, number: signal.Signals) -> None:
        self.send(number)
        if self._process is not None:
            self._process.wait()
            self._process = None

    @abstractmethod
    def _answers(self) -> bool:
        """Whether clients are served."""


class RedisServer(_Spawned):
    """Redis that keeps nothing on disk."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__("redis", port, folder)

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, empty."""
        program = _program("redis-server")
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._spawn([program, *options], {})

    def _answers(self) -> bool:
        return _says(self.port, b"PING\r\n", b"+PONG")


class RabbitServer(_Spawned):
    """A RabbitMQ node; with its folder its queues are gone."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__("rabbitmq", port, folder)

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the node, with the queues that its folder holds."""
        program = str(RABBITMQ_PROGRAM) if RABBITMQ_PROGRAM.exists() else _program("rabbitmq-server")
        self._spawn(
            [program],
            {
                "HOME": str(self.folder),
                # Otherwise it stands where the command was typed.
                "ERL_CRASH_DUMP": str(self.folder / "erl_crash.dump"),
                "RABBITMQ_NODENAME": f"marqetfi-{self.port}@localhost",
                "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
                "RABBITMQ_NODE_PORT": str(self.port),
                "RABBITMQ_DIST_PORT": str(self.port + DISTRIBUTION),
                "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
                "RABBITMQ_LOG_BASE": str(self.folder / "log"),
                "RABBITMQ_LOGS": "-",
                "RABBITMQ_PID_FILE": str(self.folder / "pid"),
                "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            },
        )

    def wipe(self) -> None:
        """Forget every queue and message; for a node that does not run."""
        shutil.rmtree(self.folder / "mnesia", ignore_errors=True)

    def _answers(self) -> bool:
        # A wrong protocol version is answered with the right one, and then closed.
        return _says(self.port, b"AMQP\x00\x00\x00\x00", b"AMQP")


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ServerMissing(f"{name} is not installed")
    return found


def _says(port: int, asked: bytes, wanted: bytes) -> bool:
    """Whether a server on this machine begins its answer with what is wanted."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(asked)
            return connection.recv(len(wanted)) == wanted
    except OSError:
        return False
