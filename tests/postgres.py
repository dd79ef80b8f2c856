"""The PostgreSQL servers of test runs, those of killed runs cleared away."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.core.embedded_postgres import DataDirInUse, EmbeddedPostgres
from app.core.postmaster import running_postmaster
from app.core.process_lock import ProcessLock

PREFIX = "marqetfi-test-"
# A younger folder may belong to a run that has not locked it yet.
GRACE_SECONDS = 120


@contextmanager
def private_server() -> Iterator[str]:
    """A server of our own for the block; yields the url of a database on it."""
    _clear_leftovers()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        postgres = EmbeddedPostgres(Path(folder))
        postgres.start()
        try:
            yield postgres.url
        finally:
            postgres.stop()


def _clear_leftovers() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        lock = ProcessLock(folder / "lock")
        try:
            if time.time() - folder.stat().st_mtime < GRACE_SECONDS:
                continue
            lock.acquire()
        except (DataDirInUse, FileNotFoundError):
            continue
        if running := running_postmaster(folder / "pg"):
            os.kill(running.pid, signal.SIGINT)
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
