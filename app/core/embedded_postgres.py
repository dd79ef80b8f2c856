"""PostgreSQL of our own: its programs come with a package, its life and its one owner are managed here.

Every call here blocks: make it before the event loop starts, or in a thread.
"""

import fcntl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

from loguru import logger

from app.core.cluster_placement import (
    STATE_DIR,
    Placement,
    installed_package,
    place,
    prepare_data_dir,
    programs_for,
)
from app.core.postgres_server import PostgresServer
from app.core.postmaster import DATABASE, PORT, SUPERUSER, Answer, ask, running_postmaster
from app.core.process_lock import DataDirInUse, ProcessLock, flocked
from app.core.server_account import EmbeddedPostgresError

__all__ = ["DataDirInUse", "EmbeddedPostgres", "EmbeddedPostgresError", "prepare_data_dir"]

START_SECONDS = 60.0
POLL_SECONDS = 0.01


class EmbeddedPostgres:
    """The PostgreSQL server of one data dir, which one process at a time owns.

    The owner calls `start` and `stop`; others use its server by `attach`. A server that outlived a killed owner is
    taken over by the next one. There is never a second server on a data dir.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        start_timeout_seconds: float = START_SECONDS,
        state_dir: Path = STATE_DIR,
        package: Path | None = None,
    ) -> None:
        self._data_dir = data_dir.resolve()
        self._start_timeout_seconds = start_timeout_seconds
        self._state_dir = state_dir
        self._package = package
        self._lock = ProcessLock(self._data_dir / "lock")
        # Threads of the owner: a stop waits for a start or a revival that is under way.
        self._turn = threading.RLock()
        self._server: PostgresServer | None = None
        self._placement: Placement | None = None
        self._socket_dir: Path | None = None

    @property
    def url(self) -> str:
        """SQLAlchemy's address of our database on the running server's socket."""
        if self._socket_dir is None:
            raise EmbeddedPostgresError("the embedded PostgreSQL has not been started")
        return f"postgresql+asyncpg://{SUPERUSER}@/{DATABASE}?host={quote(str(self._socket_dir))}&port={PORT}"

    @property
    def placement(self) -> Placement:
        """Where cluster, log and socket stand; its `notice` says when that is not the data dir."""
        if self._placement is None:
            raise EmbeddedPostgresError("the embedded PostgreSQL has not been started")
        return self._placement

    def start(self) -> None:
        """Become the owner and return once the database accepts clients.

        DataDirInUse when another process owns it, EmbeddedPostgresError when the server cannot be brought up.
        """
        with self._turn, ExitStack() as undo:
            prepare_data_dir(self._data_dir)
            self._lock.acquire()
            undo.callback(self.stop)
            placement = place(self._data_dir, self._state_dir)
            if placement.notice:
                logger.warning(placement.notice)
            programs = programs_for(placement.account, self._package or installed_package(), self._state_dir)
            self._placement = placement
            self._server = PostgresServer(placement, programs, start_timeout_seconds=self._start_timeout_seconds)
            self._socket_dir = self._server.bring_up()
            undo.pop_all()

    def stop(self) -> None:
        """Stop the server, also one that was taken over, and give up ownership; harmless when not the owner."""
        with self._turn:
            if self._server is not None:
                self._server.stop()
                self._server = None
            self._lock.release()

    def ensure_running(self) -> bool:
        """Bring the owned server up again if it died; True when it had. Nothing committed is lost."""
        with self._turn:
            if self._server is None or running_postmaster(self.placement.cluster) is not None:
                return False
            logger.error("the embedded PostgreSQL died; starting it again")
            self._socket_dir = self._server.bring_up()
            return True

    @contextmanager
    def attach(self) -> Iterator[str]:
        """The url of the data dir's server for the length of a command.

        A running server is used and never stopped; where none runs, this process owns one until the block ends
        and, before stopping it, waits for those that attached to it meanwhile.
        """
        prepare_data_dir(self._data_dir)
        attached = self._data_dir / "attached"
        started = False
        try:
            with flocked(attached, fcntl.LOCK_SH):
                started = self._find_or_start()
                yield self.url
        finally:
            if started:
                with flocked(attached, fcntl.LOCK_EX):
                    self.stop()

    def _find_or_start(self) -> bool:
        """Settle on a running server (False), or own one (True)."""
        deadline = time.monotonic() + self._start_timeout_seconds
        while True:
            placement = place(self._data_dir, self._state_dir)
            running = running_postmaster(placement.cluster)
            if running is not None and ask(running.socket_dir) is Answer.READY:
                self._placement, self._socket_dir = placement, running.socket_dir
                return False
            try:
                self.start()
            except DataDirInUse:
                # Its owner is starting or stopping it at this moment.
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECONDS)
            else:
                return True
