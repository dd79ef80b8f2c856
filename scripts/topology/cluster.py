"""Every process of an installation: started in order, started again when one dies, stopped together. Calls block."""

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
from loguru import logger

from app.core.process_lock import DataDirInUse, ProcessLock
from scripts.run_tests import COMPILED_ONCE
from scripts.topology.servers import (
    PAUSE_SECONDS,
    PostgresServer,
    RabbitServer,
    RedisServer,
    Server,
    ServerMissing,
)

MARQETFI = Path(sys.executable).with_name("marqetfi")
STOP_SECONDS = 60.0
WATCH_SECONDS = 0.25
READY_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True)
class Shape:
    """How many processes of each kind, and from which port on; APIs take the first ports, servers those after."""

    apis: int = 2
    engines: int = 2
    workers: int = 2
    first_port: int = 8100

    @property
    def redis_port(self) -> int:
        """Where Redis listens."""
        return self.first_port + self.apis

    @property
    def rabbitmq_port(self) -> int:
        """Where RabbitMQ listens."""
        return self.first_port + self.apis + 1


@dataclass
class Member:
    """One process of the product; `starts` counts how often it was started."""

    name: str
    command: Sequence[str]
    settings: Mapping[str, str]
    log: Path
    port: int | None = None
    starts: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _started_at: float = 0.0

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process that runs, or ran last."""
        return self._process.pid if self._process is not None else None

    @property
    def is_ready(self) -> bool:
        """Whether it does its work: an API says so itself, of others it is enough that they run."""
        if not self.is_alive or self.port is None:
            return self.is_alive
        try:
            ready = httpx2.get(f"{self.url}/health/ready", timeout=READY_TIMEOUT_SECONDS, trust_env=False)
        except httpx2.HTTPError:
            return False
        return ready.status_code == httpx2.codes.OK

    @property
    def url(self) -> str:
        """Where an API listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, without waiting for anything."""
        self.starts += 1
        self._started_at = time.monotonic()
        with self.log.open("ab") as log:
            # A group of its own: Ctrl-C reaches the one who runs the cluster, and that one stops all in order.
            self._process = subprocess.Popen(
                [MARQETFI, *self.command],
                env={**os.environ, **self.settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def is_due(self) -> bool:
        """Whether it has died and may be started again."""
        return not self.is_alive and time.monotonic() - self._started_at >= PAUSE_SECONDS

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def wait(self) -> None:
        """Return once it has ended; one that does not end by itself is killed."""
        if self._process is None:
            return
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass
class Cluster:
    """PostgreSQL, Redis and RabbitMQ, and the product's processes on them, all below one folder.

    `settings` are environment variables by name, which every process gets. What dies is started again, as a container's
    restart policy would have it; a server that was killed by its `kill` is left to who did it. `tell` hears of each
    death and of each start that follows one, from any thread.
    """

    folder: Path
    shape: Shape = Shape()
    settings: Mapping[str, str] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    tell: Callable[[str], None] = field(default=lambda _said: None)

    def __post_init__(self) -> None:
        self.folder = self.folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.postgres = PostgresServer(self.folder / "postgres")
        self.redis = RedisServer(self.folder / "redis", self.shape.redis_port)
        self.rabbitmq = RabbitServer(self.folder / "rabbitmq", self.shape.rabbitmq_port)
        self._lock = ProcessLock(self.folder / "lock")
        self._is_over = threading.Event()
        self._seen: dict[str, int | None] = {}
        # A server that takes long to come up keeps nothing else from being started again.
        self._watchers = [
            threading.Thread(target=self._watch, name="cluster", daemon=True),
            *(threading.Thread(target=self._keep, args=[each], name=each.name, daemon=True) for each in self.servers),
        ]

    @property
    def servers(self) -> list[Server]:
        """What the product stands on."""
        return [self.postgres, self.redis, self.rabbitmq]

    @property
    def apis(self) -> list[Member]:
        """The processes that people talk to."""
        return [member for member in self.members.values() if member.port is not None]

    def start(self) -> None:
        """Start the servers, migrate, and start every member.

        ServerMissing where a server does not come up, RuntimeError where another cluster has the folder.
        """
        try:
            self._lock.acquire()
        except DataDirInUse as used:
            who = "" if used.pid is None else f", as process {used.pid}"
            raise RuntimeError(
                f"another cluster runs in {self.folder}{who}: stop it first, or give this one a folder by --folder, "
                "and ports by --port"
            ) from None
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda server: server.start(), self.servers))
        environment = self.environment()
        migrated = subprocess.run([MARQETFI, "migrate"], env=environment, capture_output=True, text=True, check=False)
        if migrated.returncode:
            raise RuntimeError(f"the database cannot be migrated: {migrated.stderr.strip()}")
        self.members.update({member.name: member for member in self._made()})
        for member in self.members.values():
            member.start()
        everything: list[Server | Member] = [*self.servers, *self.members.values()]
        self._seen = {process.name: running(process) for process in everything}
        for watcher in self._watchers:
            watcher.start()

    def environment(self) -> dict[str, str]:
        """What every process gets."""
        return {
            **os.environ,
            **COMPILED_ONCE,
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.redis.url,
            "BROKER_URL": self.rabbitmq.url,
            "SECRET_KEY": self._secret(),
            "MARQETFI_DATA_DIR": str(self.folder / "data"),
            **self.settings,
        }

    def stop(self) -> None:
        """Stop every member in order, then the servers."""
        self._is_over.set()
        for watcher in self._watchers:
            if watcher.is_alive():
                watcher.join()
        for member in self.members.values():
            member.send(signal.SIGTERM)
        for member in self.members.values():
            member.wait()
        for server in reversed(self.servers):
            server.stop()
        self._lock.release()

    def _made(self) -> list[Member]:
        shape = self.shape
        ports = [shape.first_port + number for number in range(shape.apis)]
        apis = [self._member(f"api-{n}", "serve", port) for n, port in enumerate(ports, start=1)]
        engines = [self._member(f"engine-{n}", "engine") for n in range(1, shape.engines + 1)]
        workers = [self._member(f"worker-{n}", "worker") for n in range(1, shape.workers + 1)]
        return [*engines, *workers, self._member("beat", "beat"), *apis]

    def _member(self, name: str, command: str, port: int | None = None) -> Member:
        settings = self.environment() | ({"PORT": str(port)} if port is not None else {})
        return Member(name, [command], settings, self.folder / f"{name}.log", port)

    def _watch(self) -> None:
        while not self._is_over.wait(WATCH_SECONDS):
            for member in self.members.values():
                self._notice(member)
                if member.is_due():
                    member.start()
                    self._notice(member)

    def _keep(self, server: Server) -> None:
        while not self._is_over.wait(WATCH_SECONDS):
            self._notice(server)
            try:
                server.revive()
            except (ServerMissing, RuntimeError, OSError) as error:
                logger.error("{server} is down and cannot be started yet: {error}", server=server.name, error=error)

    def _notice(self, process: Server | Member) -> None:
        """Tell of a death, and of a start, since it was looked at last."""
        before, now = self._seen[process.name], running(process)
        if before is not None and before != now:
            self.tell(f"{process.name} died: it was process {before}")
        if now is not None and before != now:
            self.tell(f"{process.name} started again: it is process {now}")
        self._seen[process.name] = now

    def _secret(self) -> str:
        """The key that all processes share, the same at every start."""
        path = self.folder / "secret"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(32))
        return path.read_text()


def running(process: Server | Member) -> int | None:
    """The process, if it runs."""
    return process.pid if process.is_alive else None
