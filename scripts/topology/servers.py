"""PostgreSQL, Redis and RabbitMQ of an installation's own: started, started again, killed, emptied. Calls block."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from app.core.embedded_postgres import EmbeddedPostgres
from app.core.postmaster import Answer, Postmaster, ask, running_postmaster

START_SECONDS = 60.0
# For so long what was killed may hold its port.
PORT_SECONDS = 5.0
POLL_SECONDS = 0.05
# What dies at once, again and again, is not started faster than this.
PAUSE_SECONDS = 1.0
# Debian's command on the path changes its user and directory; the one behind it obeys the environment.
RABBITMQ_PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
# RabbitMQ talks to its own tools on a port so far above that of its clients.
DISTRIBUTION = 20_000


class ServerMissing(Exception):
    """A program that is not installed, or a server that does not come up."""


class Server(ABC):
    """One of them; `starts` counts how often it was started. Any thread may call."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.starts = 0
        self._is_wanted = False
        self._started_at = 0.0
        # A kill waits for a start that is under way.
        self._turn = threading.RLock()

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it."""

    @property
    @abstractmethod
    def pid(self) -> int | None:
        """The process that runs; None where none does."""

    @property
    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it serves clients."""

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.pid is not None

    def start(self) -> None:
        """Return once it answers; ServerMissing, or another RuntimeError, where it cannot."""
        with self._turn:
            self._is_wanted = True
            self.starts += 1
            self._started_at = time.monotonic()
            self._bring_up()

    def revive(self) -> None:
        """Start it again, on what its folder holds, where it has died without being told to, and not a moment ago."""
        with self._turn:
            if self._is_wanted and not self.is_alive and time.monotonic() - self._started_at >= PAUSE_SECONDS:
                self.start()

    def kill(self) -> None:
        """End it at once, until the next start; what it keeps in memory alone is gone."""
        with self._turn:
            self._is_wanted = False
            self._kill()

    def stop(self) -> None:
        """End it in order, until the next start; harmless where it does not run."""
        with self._turn:
            self._is_wanted = False
            self._stop()

    @abstractmethod
    def _bring_up(self) -> None: ...

    @abstractmethod
    def _kill(self) -> None: ...

    @abstractmethod
    def _stop(self) -> None: ...


class PostgresServer(Server):
    """PostgreSQL of the project's own package, in a folder; what was committed outlives a kill."""

    def __init__(self, folder: Path) -> None:
        super().__init__("postgres")
        self._postgres = EmbeddedPostgres(folder)
        self._is_owned = False

    @property
    def url(self) -> str:
        """SQLAlchemy's address, on a socket."""
        return self._postgres.url

    @property
    def pid(self) -> int | None:
        """The process that other ones of the server belong to."""
        running = self._running()
        return None if running is None else running.pid

    @property
    def is_ready(self) -> bool:
        """Whether the database accepts clients."""
        running = self._running()
        return running is not None and ask(running.socket_dir) is Answer.READY

    def _running(self) -> Postmaster | None:
        return running_postmaster(self._postgres.placement.cluster) if self._is_owned else None

    def _bring_up(self) -> None:
        """Become the owner of the folder's server, or bring a killed one up again."""
        if self._is_owned:
            self._postgres.ensure_running()
            return
        self._postgres.start()
        self._is_owned = True

    def _kill(self) -> None:
        running = self._running()
        if running is None:
            return
        os.kill(running.pid, signal.SIGKILL)
        # A start that comes before the process is gone finds it running, and does nothing.
        deadline = time.monotonic() + START_SECONDS
        while self._running() is not None:
            if time.monotonic() > deadline:
                raise ServerMissing(f"{self.name} does not end; it is process {running.pid}")
            time.sleep(POLL_SECONDS)

    def _stop(self) -> None:
        self._postgres.stop()
        self._is_owned = False


class _Spawned(Server):
    """A server that is one process on a port of 127.0.0.1, and its output a file."""

    def __init__(self, name: str, port: int, folder: Path) -> None:
        super().__init__(name)
        self.port = port
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process that was started."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def is_ready(self) -> bool:
        """Whether clients are served."""
        return self.is_alive and self._answers()

    def _spawn(self, command: list[str], environment: Mapping[str, str]) -> None:
        """Start it in a group of its own, so that Ctrl-C reaches its owner alone and a kill reaches its children."""
        self._clear_port()
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

    def _kill(self) -> None:
        self._end(signal.SIGKILL)

    def _stop(self) -> None:
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

    def _clear_port(self) -> None:
        """End what a process that was killed alone has left of its group, and wait until its port is free."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        deadline = time.monotonic() + PORT_SECONDS
        while _is_taken(self.port):
            if time.monotonic() > deadline:
                raise ServerMissing(f"{self.name} cannot listen on port {self.port}: another program does")
            time.sleep(POLL_SECONDS)

    @abstractmethod
    def _answers(self) -> bool: ...


class RedisServer(_Spawned):
    """Redis that keeps nothing on disk."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__("redis", port, folder)

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"redis://127.0.0.1:{self.port}"

    def _bring_up(self) -> None:
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

    def _bring_up(self) -> None:
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


def _is_taken(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _says(port: int, asked: bytes, wanted: bytes) -> bool:
    """Whether a server on this machine begins its answer with what is wanted."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(asked)
            return connection.recv(len(wanted)) == wanted
    except OSError:
        return False
