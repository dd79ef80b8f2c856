"""The installed script as a program of its own: servers with their own PostgreSQL, and commands beside them."""

import asyncio
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx2

from app.api.serving import GRACEFUL_SECONDS
from app.core import migrations
from app.core.embedded_postgres import EmbeddedPostgres
from tests.waiting import until_sync

SCRIPT = Path(sys.executable).parent / "marqetfi"
START_SECONDS = 90.0
PHRASE = "a long enough phrase"


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """The environment of an installation in a folder; nothing of the developer's own."""
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "COVERAGE_PROCESS_START") if name in os.environ
    }
    own = {"MARQETFI_DATA_DIR": str(folder / "data"), "XDG_CONFIG_HOME": str(folder / "config"), "PORT": "0"}
    return {**kept, **own, "PASSWORD_MEMORY_KIB": "8", "PASSWORD_TIME_COST": "1", **settings}


def run(folder: Path, *words: str, stdin: str = "", code: int = 0, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the script to its end."""
    ended = subprocess.run(
        [str(SCRIPT), *words],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(folder, **settings),
        timeout=START_SECONDS,
        check=False,
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended


@dataclass(frozen=True)
class Serving:
    """A running `marqetfi serve`."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str

    @property
    def said(self) -> str:
        """What it has written so far."""
        return self.log.read_text()

    def stop(self, number: signal.Signals = signal.SIGINT, *, seconds: float = START_SECONDS) -> int | None:
        """Press Ctrl-C, or send another signal; the exit code, None where it takes longer."""
        self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Serving]:
    """`marqetfi serve` on any free port; killed at the end where it was not stopped."""
    log = folder / "serve.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(SCRIPT), "serve"], stdout=out, stderr=out, cwd=folder, env=environment(folder, **settings)
        )
    try:
        url = until_sync(lambda: _url(process, log), seconds=START_SECONDS)
        yield Serving(process, log, url)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(START_SECONDS)


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    said = log.read_text()
    assert process.poll() is None, said
    found = re.search(r" at (http://127\.0\.0\.1:[0-9]+)\. Ctrl-C stops it", said)
    return found[1] if found else ""


def address_of(url: str) -> tuple[str, int]:
    """Host and port of a server."""
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


async def is_superuser(data_dir: Path, email: str) -> bool:
    """What the database of a data dir says."""
    with EmbeddedPostgres(data_dir).attach() as url:
        connection = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://", 1))
        try:
            return bool(await connection.fetchval("SELECT is_superuser FROM users WHERE email = $1", email))
        finally:
            await connection.close()


def test_a_first_start_what_commands_do_beside_it_and_a_later_start(installation: Path) -> None:
    data, account = installation / "data", ("--email", "ann@example.com", "--password-stdin")
    with serving(installation) as server:
        for word in ("First start", f"{server.url}/api/v1", f"{server.url}/docs", f"{server.url}/health", str(data)):
            assert word in server.said
        assert f"marqetfi register --url {server.url}" in server.said
        # Prices and the order engine follow a moment after the server.
        until_sync(lambda: httpx2.get(f"{server.url}/health", trust_env=False).json()["status"] == "ok")
        run(installation, "register", *account, "--username", "ann", "--url", server.url, stdin=PHRASE)
        run(installation, "admin", "create", "root@example.com", "--password-stdin", stdin=PHRASE)
        run(installation, "admin", "create", "Ann@example.com")
        for email in ("ann@example.com", "root@example.com"):
            assert asyncio.run(is_superuser(data, email))
        port = server.url.rpartition(":")[2]
        for second in (run(installation, "serve", code=3), run(installation, "serve", code=3, PORT=port)):
            assert f"is in use by process {server.process.pid}" in second.stderr
        assert f"Already at {migrations.head()}" in run(installation, "migrate").stdout
        checked = json.loads(run(installation, "doctor", "--json", PORT=port).stdout)
        assert {finding["verdict"] for finding in checked["findings"]} == {"ok"}
        assert server.stop() == 0
    assert "Traceback" not in server.said
    assert "Stopped." in server.said
    assert stat.S_IMODE((data / "secret_key").stat().st_mode) == 0o600
    with serving(installation) as server:
        assert "First start" not in server.said
        run(installation, "whoami", "--url", server.url, code=1)
        run(installation, "login", *account, "--url", server.url, stdin=PHRASE)
        assert server.stop(signal.SIGTERM) == 0
    assert server.said.endswith("Stopped.\n")


def test_a_second_signal_ends_a_server_that_waits_for_a_request(installation: Path) -> None:
    with serving(installation) as server, socket.create_connection(address_of(server.url)) as client:
        # A body that never comes.
        client.sendall(
            b"POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
        )
        assert client.recv(99).startswith(b"HTTP/1.1 100 "), "it reads the request"
        assert server.stop(signal.SIGTERM, seconds=1) is None, "it waits for the request"
        began = time.monotonic()
        assert server.stop(signal.SIGINT) == 0
        assert time.monotonic() - began < GRACEFUL_SECONDS / 2
    assert "Stopped." in server.said


def test_a_recording_that_cannot_be_played_ends_the_start(installation: Path) -> None:
    recording = installation / "recording.csv"
    recording.write_text("ts_ms,bid,ask\n1,2,3\n2,x,3\n")
    ended = run(installation, "serve", code=1, PAPER_FEED="replay", PAPER_REPLAY=f"BTCUSDT={recording}")
    assert f"{recording}, line 3: bid is 'x', not a positive price" in ended.stderr
    assert not (installation / "data").exists()


def test_a_reader_that_has_seen_enough(installation: Path) -> None:
    command = f"{SCRIPT} prices sample | head -2"
    ended = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, env=environment(installation), timeout=60, check=True
    )
    assert ended.stdout.splitlines() == ["ts_ms,bid,ask", "1767614400000,60000.00,60000.10"]
    assert ended.stderr == ""
