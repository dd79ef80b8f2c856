"""One PostgreSQL server on one cluster: made, started, taken over and stopped. Calls block."""

import shutil
import signal
import subprocess
import time
from pathlib import Path

from loguru import logger

from app.core.cluster_placement import MAJOR_VERSION, Placement, create_directories
from app.core.postmaster import (
    DATABASE,
    PORT,
    SUPERUSER,
    Answer,
    ask,
    remove_stale_files,
    running_postmaster,
)
from app.core.server_account import EmbeddedPostgresError

STOP_SECONDS = 60
POLL_SECONDS = 0.01
LOG_LIMIT_BYTES = 16 * 1024 * 1024
ACCEPTING = {Answer.READY, Answer.NO_DATABASE}
# PostgreSQL's words while processes of a killed server still hold its shared memory or files.
STILL_IN_USE = ("is still in use", "already exists")

# Given on the command line, so that each start has them, whatever postgresql.conf says.
SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "max_connections": "200",
    "max_wal_size": "512MB",
    "max_logical_replication_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "io_method": "sync",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_lock_waits": "on",
    # Neither statements nor the values of rows: both may hold secrets.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


class PostgresServer:
    """The server of a placed cluster. Its caller holds the lock of the data dir: nobody else starts or stops it."""

    def __init__(self, placement: Placement, programs: Path, *, start_timeout_seconds: float) -> None:
        self._placement = placement
        self._programs = programs
        self._start_timeout_seconds = start_timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None

    def bring_up(self) -> Path:
        """Make the cluster and start its server where they are missing; the socket dir once clients are accepted."""
        deadline = time.monotonic() + self._start_timeout_seconds
        create_directories(self._placement)
        if not (self._placement.cluster / "PG_VERSION").exists():
            self._initialise()
        self._check_version()
        socket_dir = self._take_over(deadline) or self._spawn(deadline)
        if ask(socket_dir) is Answer.NO_DATABASE:
            self._create_database(socket_dir)
        return socket_dir

    def stop(self) -> None:
        """Stop whatever server runs on the cluster: in order, and where that takes too long, at once (crash-safe)."""
        for mode in ("fast", "immediate"):
            if running_postmaster(self._placement.cluster) is None:
                break
            failure = self._run(
                "pg_ctl",
                "stop",
                f"--pgdata={self._placement.cluster}",
                f"--mode={mode}",
                "--wait",
                f"--timeout={STOP_SECONDS}",
            )
            if failure:
                logger.error("pg_ctl stop --mode={} failed: {}", mode, failure)
        if self._process is not None:
            if self._process.poll() is None:
                # Interrupted in its first moments, before its pid file: SIGINT is what pg_ctl would send.
                self._process.send_signal(signal.SIGINT)
            self._process.wait()
            self._process = None

    def _initialise(self) -> None:
        # Made beside and renamed: a kill in the middle leaves nothing that looks like a cluster.
        staging = self._placement.home / "pg.new"
        if staging.exists():
            shutil.rmtree(staging)
        self._placement.account.make_private_dir(staging)
        failure = self._run(
            "initdb",
            f"--pgdata={staging}",
            f"--username={SUPERUSER}",
            "--encoding=UTF8",
            "--locale=C",
            "--auth-local=trust",
            "--auth-host=reject",
            "--no-instructions",
        )
        if failure:
            raise EmbeddedPostgresError(f"initdb failed for {self._placement.cluster}: {failure}")
        staging.rename(self._placement.cluster)

    def _check_version(self) -> None:
        found = (self._placement.cluster / "PG_VERSION").read_text().strip()
        if found != MAJOR_VERSION:
            raise EmbeddedPostgresError(
                f"{self._placement.cluster} was made by PostgreSQL {found}, this is {MAJOR_VERSION}: "
                "dump it with the old programs and load the dump into a new data dir"
            )

    def _take_over(self, deadline: float) -> Path | None:
        """The socket dir of the server that a killed owner left running, once it answers; None when none runs."""
        while (running := running_postmaster(self._placement.cluster)) is not None:
            answer = ask(running.socket_dir)
            if answer in ACCEPTING:
                logger.info("took over the running PostgreSQL, process {}", running.pid)
                return running.socket_dir
            if answer is Answer.SILENT and running.is_up:
                # Its socket is gone, perhaps with a temporary directory.
                self.stop()
            self._wait(deadline)
        return None

    def _spawn(self, deadline: float) -> Path:
        """Start a server where none runs; its socket dir once it answers."""
        placement = self._placement
        arguments = [str(self._programs / "postgres"), "-D", str(placement.cluster)]
        for name, value in {**SETTINGS, "unix_socket_directories": str(placement.socket_dir)}.items():
            arguments += ["-c", f"{name}={value}"]
        self._rotate_log()
        while self._process is not None and self._process.poll() is None:
            # Killed, but not quite gone.
            self._wait(deadline)
        while True:
            remove_stale_files(placement.cluster, placement.socket_dir)
            log_start = placement.log.stat().st_size if placement.log.exists() else 0
            self._process = placement.account.spawn(arguments, placement.log)
            if self._comes_up(self._process, deadline):
                return placement.socket_dir
            reason = placement.log.read_bytes()[log_start:].decode(errors="replace").strip()
            if not any(words in reason for words in STILL_IN_USE):
                raise EmbeddedPostgresError(f"PostgreSQL did not start: {reason or 'it said nothing'}")
            # The children of a killed server notice its death within moments.
            self._wait(deadline)

    def _comes_up(self, process: subprocess.Popen[bytes], deadline: float) -> bool:
        """Wait until the new server accepts clients (True) or has ended (False)."""
        while process.poll() is None:
            if ask(self._placement.socket_dir) in ACCEPTING:
                return True
            self._wait(deadline)
        return False

    def _wait(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise EmbeddedPostgresError(
                f"PostgreSQL was not ready after {self._start_timeout_seconds:g} s; see {self._placement.log}"
            )
        time.sleep(POLL_SECONDS)

    def _create_database(self, socket_dir: Path) -> None:
        failure = self._run(
            "createdb", f"--host={socket_dir}", f"--port={PORT}", f"--username={SUPERUSER}", "--no-password", DATABASE
        )
        if failure:
            raise EmbeddedPostgresError(f"the database {DATABASE} cannot be created: {failure}")

    def _run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs; what it complained of if it failed, else nothing."""
        ended = self._placement.account.run(self._programs / program, *arguments)
        if ended.returncode == 0:
            return ""
        return ended.stderr.strip() or f"{program} ended with {ended.returncode}"

    def _rotate_log(self) -> None:
        log = self._placement.log
        if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_suffix(".log.1"))
