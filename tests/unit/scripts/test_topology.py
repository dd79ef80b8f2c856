"""What `scripts/cluster` is asked for, and what it shows."""

import os
import shlex
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path

import pytest
from loguru import logger
from rich.console import Console
from rich.table import Table

from app.core.process_lock import ProcessLock
from scripts.topology import __main__ as command
from scripts.topology import cluster as topology
from scripts.topology import servers
from scripts.topology.__main__ import arguments, guide, main, table
from scripts.topology.cluster import Cluster, Member, Shape
from scripts.topology.servers import RedisServer, Server, ServerMissing
from tests.waiting import until_sync

DATABASE_URL = "postgresql+asyncpg://postgres@/marqetfi?host=%2Fhome%2Fada%2Fmarqetfi%2F.data&port=5432"


def test_settings_are_pairs() -> None:
    asked = arguments(["--port", "45531", "LOG_LEVEL=DEBUG", "PAPER_REPLAY=BTCUSDT=a.csv", "LOG_FILE="])
    assert dict(asked.settings) == {"LOG_LEVEL": "DEBUG", "PAPER_REPLAY": "BTCUSDT=a.csv", "LOG_FILE": ""}
    assert arguments([]).settings == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--port", "45533"], "argument --port: 45533 is not between 1 and 45532: RabbitMQ takes a port 20,000 above"),
        (["--apis", "3", "--port", "45532"], "45532 is not between 1 and 45531"),
        (["--port", "0"], "0 is not between 1 and 45532"),
        (["DEBUG"], "'DEBUG' is not a setting such as LOG_LEVEL=DEBUG"),
        (["=DEBUG"], "'=DEBUG' is not a setting such as LOG_LEVEL=DEBUG"),
        (["--engines", "-1"], "'-1' is not a number such as 2"),
        (["--apis", "0"], "argument --apis: there must be an API, or nobody can ask for anything"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        arguments(words)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_help_shows_what_is_taken_unless_told_otherwise(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit):
        arguments(["--help"])
    shown = capsys.readouterr().out
    assert "(default: 8100)" in shown
    assert "(default: .data/cluster)" in shown
    assert "None" not in shown


def test_every_url_is_whole_in_80_columns(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "cluster", Shape(first_port=45_532))
    cluster.members["api-1"] = Member("api-1", ["serve"], {}, tmp_path / "api-1.log", 45_532)
    console = Console(file=StringIO(), width=80)
    with console.capture() as capture:
        console.print(table(cluster))
    shown = capture.get()
    for url in (cluster.redis.url, cluster.rabbitmq.url, "http://127.0.0.1:45532"):
        assert url in shown


class FakeServer(Server):
    """A server that runs as long as a test says."""

    url = "fake://"
    is_ready = False
    runs = False

    @property
    def pid(self) -> int | None:
        return 3999 + self.starts if self.runs else None

    def _bring_up(self) -> None:
        self.runs = True

    def _kill(self) -> None:
        self.runs = False

    _stop = _kill


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    """A running server, which may be started again at once."""
    monkeypatch.setattr(servers, "PAUSE_SECONDS", 0)
    server = FakeServer("fake")
    server.start()
    return server


def test_a_server_that_died_is_started_again(server: FakeServer) -> None:
    server.revive()
    assert server.starts == 1
    server.runs = False
    server.revive()
    assert (server.starts, server.is_alive) == (2, True)


def test_one_that_dies_at_once_is_given_a_pause(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "PAUSE_SECONDS", 60)
    server.runs = False
    server.revive()
    assert server.starts == 1


@pytest.mark.parametrize("end", [FakeServer.kill, FakeServer.stop])
def test_one_that_was_told_to_end_stays_so_until_it_is_told_to_start(
    server: FakeServer, end: Callable[[FakeServer], None]
) -> None:
    end(server)
    server.revive()
    assert not server.is_alive
    server.start()
    assert (server.starts, server.is_alive) == (2, True)


def test_servers_are_shown_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: FakeServer) -> None:
    monkeypatch.setattr(Cluster, "servers", [server])
    cluster = Cluster(tmp_path / "cluster")
    for runs, is_ready, shown in (
        (False, False, ["fake", "down", "fake://", "1"]),
        (True, False, ["fake", "starting", "fake://", "4000", "1"]),
        (True, True, ["fake", "up", "fake://", "4000", "1"]),
    ):
        monkeypatch.setattr(FakeServer, "is_ready", is_ready)
        server.runs = runs
        assert words_of(table(cluster), "fake") == shown


@pytest.fixture
def fake_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: FakeServer) -> Iterator[Cluster]:
    """What the command runs: an API that only sleeps, on one server that is none. Signals are as before afterwards."""
    program = tmp_path / "marqetfi"
    program.write_text('#!/bin/sh\n[ "$1" = migrate ] || exec sleep 60\n')
    program.chmod(0o700)
    monkeypatch.setattr(topology, "MARQETFI", program)
    monkeypatch.setattr(topology, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(Member, "is_ready", property(lambda member: member.is_alive))
    monkeypatch.setattr(Cluster, "servers", [server])
    monkeypatch.setattr(servers.PostgresServer, "url", DATABASE_URL)
    cluster = Cluster(tmp_path / "cluster", Shape(apis=1, engines=0, workers=0))
    monkeypatch.setattr(command, "Cluster", lambda *_: cluster)
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield cluster
    for number, handler in kept.items():
        signal.signal(number, handler)
    logger.remove()


def test_what_dies_and_starts_again_is_told_where_no_table_can_be(
    fake_cluster: Cluster, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, died = StringIO(), []
    monkeypatch.setattr(command, "screen", lambda: Console(file=out, width=200))

    def disturb() -> None:
        until_sync(lambda: {"cluster", "fake"} <= {thread.name for thread in threading.enumerate()})
        died.append(fake_cluster.members["api-1"].pid)
        fake_cluster.members["api-1"].send(signal.SIGKILL)
        server.runs = False
        until_sync(lambda: out.getvalue().count("started again") == 2)

    def disturb_and_stop() -> None:
        try:
            disturb()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    with ThreadPoolExecutor(1) as other:
        disturbed = other.submit(disturb_and_stop)
        assert main([]) == 0
        disturbed.result()
    told = [line.partition("Z ") for line in out.getvalue().splitlines()]
    assert sorted(said for when, _, said in told if when.startswith("20")) == [
        f"api-1 died: it was process {died[0]}",
        f"api-1 started again: it is process {fake_cluster.members['api-1'].pid}",
        "fake died: it was process 4001",
        "fake started again: it is process 4002",
    ]
    assert out.getvalue().endswith("\nStopped.\n")


def test_a_folder_has_one_cluster(tmp_path: Path) -> None:
    lock = ProcessLock(tmp_path / "lock")
    lock.acquire()
    cluster = Cluster(tmp_path)
    with pytest.raises(
        RuntimeError, match=f"another cluster runs in {tmp_path}, as process {os.getpid()}: .* --folder"
    ):
        cluster.start()
    assert [server.starts for server in cluster.servers] == [0, 0, 0]
    lock.release()


def test_a_port_that_is_taken_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "PORT_SECONDS", 0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerMissing, match=f"redis cannot listen on port {port}: another program does"):
            RedisServer(tmp_path, port)._spawn(["true"], {})


def words_of(made: Table, name: str) -> list[str]:
    """What a table shows of a process."""
    console = Console(file=StringIO(), width=120)
    with console.capture() as capture:
        console.print(made)
    (line,) = (line for line in capture.get().splitlines() if name in line)
    return [word for word in line.split() if word != "│"]


def test_the_guide_is_a_line_that_a_shell_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    logs, commands, _rest = guide(Shape(), tmp_path / ".data" / "cluster", DATABASE_URL).splitlines()
    assert logs.endswith(" .data/cluster/NAME.log")
    assert shlex.split(commands) == [
        "commands",
        "PORT=8100",
        f"DATABASE_URL={DATABASE_URL}",
        "marqetfi",
        "doctor",
    ]
