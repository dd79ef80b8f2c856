"""Locks on files that the system gives back when a process dies, however it dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOLDER_WAIT_SECONDS = 1.0
POLL_SECONDS = 0.01


class DataDirInUse(RuntimeError):
    """Another process owns the data dir; `pid` names it (None where it could not be read)."""

    def __init__(self, data_dir: Path, pid: int | None) -> None:
        holder = "another process" if pid is None else f"process {pid}"
        super().__init__(f"{data_dir} is in use by {holder}; stop it first, or choose another data dir")
        self.data_dir = data_dir
        self.pid = pid


@contextmanager
def flocked(path: Path, operation: int) -> Iterator[None]:
    """Hold a flock (fcntl.LOCK_SH or LOCK_EX) on a file for the block, waiting for it as long as needed."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)


class ProcessLock:
    """Exclusive ownership of a data dir, by flock on a file in it whose content is the owner's pid."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object owns the lock."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Become the owner at once, or raise DataDirInUse naming the one that is."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._living_holder(descriptor)
            os.close(descriptor)
            raise DataDirInUse(self._path.parent, holder) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock up; without effect where it is not held. The file stays: removing it would race."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    @staticmethod
    def _living_holder(descriptor: int) -> int | None:
        # A new owner writes its pid just after it locks: until then the file is empty or names a dead one.
        deadline = time.monotonic() + HOLDER_WAIT_SECONDS
        while True:
            written = os.pread(descriptor, 32, 0)
            if written.isdigit() and is_alive(int(written)):
                return int(written)
            if time.monotonic() > deadline:
                return None
            time.sleep(POLL_SECONDS)


def is_alive(pid: int) -> bool:
    """Whether a process has this pid now (it may be another program than the one that once had it)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
