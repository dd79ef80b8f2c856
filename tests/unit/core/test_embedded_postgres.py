"""The embedded server, for real: starts, crashes, take-overs, attached commands, awkward directories."""

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from app.core.cluster_placement import INSTALLATION, installed_package
from app.core.embedded_postgres import DataDirInUse, EmbeddedPostgres, EmbeddedPostgresError, prepare_data_dir
from app.core.postmaster import DATABASE, SUPERUSER, Answer, ask, running_postmaster
from tests.unit.core.conftest import processes_of
from tests.waiting import until_sync

PROJECT = Path(__file__).parents[3]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has an account to hand the server to")

OWNER = """
import sys
from pathlib import Path
from app.core.embedded_postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
print(server.url, flush=True)
sys.stdin.read()
server.stop()
"""

ATTACHED = """
import sys
from pathlib import Path
from app.core.embedded_postgres import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1])).attach() as url:
    print(url, flush=True)
    sys.stdin.read()
"""

UNPRIVILEGED = """
import os, stat, sys
from pathlib import Path
from app.core.embedded_postgres import EmbeddedPostgres
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
data_dir = Path(sys.argv[1])
server = EmbeddedPostgres(data_dir, package=Path(sys.argv[2]))
server.start()
print(oct(stat.S_IMODE(data_dir.stat().st_mode)), server.placement.home == data_dir, server.url, flush=True)
server.stop()
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def sql(url: str, statement: str) -> str:
    """Run a statement with psql on the socket of a url; its bare answer."""
    query = parse_qs(urlsplit(url).query)
    psql = installed_package() / INSTALLATION / "bin" / "psql"
    place = [f"--host={query['host'][0]}", f"--port={query['port'][0]}", f"--username={SUPERUSER}"]
    command = [str(psql), *place, f"--dbname={DATABASE}", "--no-psqlrc", "-tA", f"--command={statement}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def postmaster_pid(data_dir: Path) -> int:
    running = running_postmaster(data_dir / "pg")
    assert running is not None
    return running.pid


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def waits_for_a_lock(pid: int) -> bool:
    lines = Path("/proc/locks").read_text().splitlines()
    return any(words[1] == "->" and words[5] == str(pid) for words in map(str.split, lines))


@contextmanager
def child(program: str, *arguments: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process running a program, once it has printed its first line; it ends when its input does."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.communicate()


class TestStart:
    def test_first_start_makes_a_private_durable_server(self, base: Path) -> None:
        server = EmbeddedPostgres(base / "data")
        server.start()
        try:
            assert mode(base / "data") == (0o711 if os.geteuid() == 0 else 0o700)
            assert mode(base / "data" / "pg") == 0o700
            assert mode(base / "data" / "run") == 0o700
            assert mode(base / "data" / "postgres.log") == 0o600
            assert mode(base / "data" / "lock") == 0o600
            assert (base / "data" / "lock").read_text() == str(os.getpid())
            assert server.placement.notice is None
            shown = {name: sql(server.url, f"SHOW {name}") for name in ("fsync", "listen_addresses", "timezone")}
            assert shown == {"fsync": "on", "listen_addresses": "", "timezone": "UTC"}
            made = "SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database WHERE datname = 'marqetfi'"
            assert sql(server.url, made) == "UTF8|C"
        finally:
            server.stop()

    def test_warm_start_keeps_state_and_stop_leaves_no_process(self, data_dir: Path) -> None:
        server = EmbeddedPostgres(data_dir)
        server.start()
        sql(server.url, "CREATE TABLE kept AS SELECT 1.5 AS amount")
        server.stop()
        assert processes_of(data_dir) == []
        assert (data_dir / "lock").read_text() == ""
        server.start()
        assert sql(server.url, "SELECT amount FROM kept") == "1.5"
        server.stop()
        server.stop()
        assert processes_of(data_dir) == []

    def test_a_missing_database_is_made_again(self, data_dir: Path) -> None:
        server = EmbeddedPostgres(data_dir)
        server.start()
        subprocess.run(
            [installed_package() / INSTALLATION / "bin" / "dropdb", "-h", data_dir / "run", "-U", SUPERUSER, DATABASE],
            check=True,
        )
        server.stop()
        server.start()
        assert sql(server.url, "SELECT 1") == "1"
        server.stop()

    def test_a_kill_during_initdb_leaves_nothing_in_the_way(self, base: Path) -> None:
        prepare_data_dir(base / "data")
        (base / "data" / "pg.new" / "base").mkdir(parents=True)
        (base / "data" / "pg.new" / "PG_VERSION").write_text("18\n")
        server = EmbeddedPostgres(base / "data")
        server.start()
        assert sql(server.url, "SELECT 1") == "1"
        server.stop()

    def test_a_cluster_of_another_version_is_refused(self, data_dir: Path) -> None:
        (data_dir / "pg" / "PG_VERSION").write_text("16\n")
        server = EmbeddedPostgres(data_dir)
        with pytest.raises(EmbeddedPostgresError, match="made by PostgreSQL 16"):
            server.start()
        assert (data_dir / "lock").read_text() == ""

    def test_a_server_that_cannot_start_says_why(self, data_dir: Path) -> None:
        (data_dir / "pg" / "global" / "pg_control").unlink()
        server = EmbeddedPostgres(data_dir)
        with pytest.raises(EmbeddedPostgresError, match="pg_control"):
            server.start()
        assert processes_of(data_dir) == []

    def test_neither_our_environment_nor_our_terminal_reach_it(
        self, data_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {"PGPORT": "6000", "PGDATA": "/nowhere", "SECRET_KEY": "hush", "TZ": "Asia/Tokyo"}.items():
            monkeypatch.setenv(name, value)
        server = EmbeddedPostgres(data_dir)
        server.start()
        pid = postmaster_pid(data_dir)
        assert sql(server.url, "SHOW port") == "5432"
        inherited = Path(f"/proc/{pid}/environ").read_bytes()
        assert not [name for name in (b"PGPORT", b"PGDATA", b"SECRET_KEY", b"Tokyo") if name in inherited]
        # A Ctrl-C goes to every process of the terminal's session.
        assert os.getsid(pid) != os.getsid(0)
        server.stop()


def command_of(pid: int) -> bytes:
    """The command line of a process; empty where it has just ended, as one that the server needs at its start."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


class TestCrash:
    def test_committed_rows_survive_a_killed_server(self, data_dir: Path) -> None:
        server = EmbeddedPostgres(data_dir)
        server.start()
        sql(server.url, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id")
        killed = postmaster_pid(data_dir)
        kill(killed)
        until_sync(lambda: running_postmaster(data_dir / "pg") is None)
        assert (data_dir / "pg" / "postmaster.pid").exists()
        server.stop()
        server.start()
        assert sql(server.url, "SELECT count(*) FROM kept") == "1000"
        assert postmaster_pid(data_dir) != killed
        server.stop()

    def test_the_owner_brings_a_dead_server_up_again(self, data_dir: Path) -> None:
        server = EmbeddedPostgres(data_dir)
        server.start()
        assert not server.ensure_running()
        kill(postmaster_pid(data_dir))
        until_sync(lambda: running_postmaster(data_dir / "pg") is None)
        assert server.ensure_running()
        assert sql(server.url, "SELECT 1") == "1"
        server.stop()
        assert processes_of(data_dir) == []

    def test_another_program_with_the_recorded_pid_is_not_the_server(self, data_dir: Path) -> None:
        server = EmbeddedPostgres(data_dir)
        server.start()
        pid_file, socket_lock = data_dir / "pg" / "postmaster.pid", data_dir / "run" / ".s.PGSQL.5432.lock"
        account = server.placement.account
        recorded = pid_file.read_text()
        killed = postmaster_pid(data_dir)
        kill(killed)
        until_sync(lambda: running_postmaster(data_dir / "pg") is None)
        server.stop()
        with subprocess.Popen(["sleep", "600"], user=account.uid, cwd="/") as stranger, ExitStack() as undo:
            undo.callback(stranger.kill)
            for path in (pid_file, socket_lock):
                path.write_text(recorded.replace(str(killed), str(stranger.pid), 1))
            server.start()
            assert sql(server.url, "SELECT 1") == "1"
            server.stop()
            assert stranger.poll() is None

    def test_no_second_server_while_a_process_of_the_killed_one_lives(self, data_dir: Path) -> None:
        server = EmbeddedPostgres(data_dir)
        server.start()
        (checkpointer,) = [pid for pid in processes_of(data_dir) if b"checkpointer" in command_of(pid)]
        os.kill(checkpointer, signal.SIGSTOP)
        kill(postmaster_pid(data_dir))
        until_sync(lambda: processes_of(data_dir) == [checkpointer])
        server.stop()
        with pytest.raises(EmbeddedPostgresError, match="not ready after"):
            EmbeddedPostgres(data_dir, start_timeout_seconds=0.5).start()
        assert processes_of(data_dir) == [checkpointer]
        os.kill(checkpointer, signal.SIGCONT)
        server.start()
        assert sql(server.url, "SELECT 1") == "1"
        server.stop()

    def test_a_server_whose_socket_was_removed_is_replaced(self, data_dir: Path) -> None:
        with child(OWNER, data_dir) as (owner, _):
            owner.kill()
        orphan = postmaster_pid(data_dir)
        (data_dir / "run" / ".s.PGSQL.5432").unlink()
        server = EmbeddedPostgres(data_dir)
        server.start()
        assert postmaster_pid(data_dir) != orphan
        assert sql(server.url, "SELECT 1") == "1"
        server.stop()
        assert processes_of(data_dir) == []


class TestOwner:
    def test_a_second_owner_is_refused_and_told_the_pid(self, data_dir: Path) -> None:
        with child(OWNER, data_dir) as (owner, url):
            with pytest.raises(DataDirInUse, match=f"process {owner.pid}") as refused:
                EmbeddedPostgres(data_dir).start()
            assert refused.value.pid == owner.pid
            assert sql(url, "SELECT 1") == "1"
        assert owner.returncode == 0
        assert processes_of(data_dir) == []

    def test_a_second_owner_in_the_same_process_is_refused_too(self, data_dir: Path) -> None:
        server = EmbeddedPostgres(data_dir)
        server.start()
        second = EmbeddedPostgres(data_dir)
        with pytest.raises(DataDirInUse):
            second.start()
        second.stop()
        assert sql(server.url, "SELECT 1") == "1"
        server.stop()

    def test_a_killed_owners_server_is_taken_over_and_stopped(self, data_dir: Path) -> None:
        with child(OWNER, data_dir) as (owner, url):
            sql(url, "CREATE TABLE kept AS SELECT 1 AS id")
            owner.kill()
        orphan = postmaster_pid(data_dir)
        server = EmbeddedPostgres(data_dir)
        server.start()
        assert postmaster_pid(data_dir) == orphan
        assert sql(server.url, "SELECT id FROM kept") == "1"
        server.stop()
        assert processes_of(data_dir) == []

    def test_owner_and_server_killed_together_recover(self, data_dir: Path) -> None:
        with child(OWNER, data_dir) as (owner, url):
            sql(url, "CREATE TABLE kept AS SELECT 1 AS id")
            owner.kill()
            kill(postmaster_pid(data_dir))
        server = EmbeddedPostgres(data_dir)
        server.start()
        assert sql(server.url, "SELECT id FROM kept") == "1"
        server.stop()

    def test_a_stop_waits_for_a_start_under_way(self, base: Path) -> None:
        server = EmbeddedPostgres(base / "data")
        starting = threading.Thread(target=server.start)
        starting.start()
        until_sync((base / "data" / "lock").exists)
        server.stop()
        starting.join()
        assert processes_of(base) == []
        assert not server.ensure_running()
        assert (base / "data" / "lock").read_text() == ""


class TestAttach:
    def test_a_running_server_is_used_and_not_stopped(self, data_dir: Path) -> None:
        with child(OWNER, data_dir) as (owner, url):
            running = postmaster_pid(data_dir)
            with EmbeddedPostgres(data_dir).attach() as attached:
                assert attached == url
                assert sql(attached, "SELECT 1") == "1"
            assert postmaster_pid(data_dir) == running
            owner.kill()
        with EmbeddedPostgres(data_dir).attach() as attached:
            assert sql(attached, "SELECT 1") == "1"
        assert postmaster_pid(data_dir) == running

    def test_without_a_server_one_is_owned_for_the_duration(self, data_dir: Path) -> None:
        with EmbeddedPostgres(data_dir).attach() as url:
            assert (data_dir / "lock").read_text() == str(os.getpid())
            assert sql(url, "SELECT 1") == "1"
            with pytest.raises(DataDirInUse):
                EmbeddedPostgres(data_dir).start()
        assert processes_of(data_dir) == []

    def test_the_command_that_started_it_waits_for_those_that_joined(self, data_dir: Path) -> None:
        with child(ATTACHED, data_dir) as (starter, _), child(ATTACHED, data_dir) as (joined, url):
            assert starter.stdin is not None
            starter.stdin.close()
            starter.stdin = None
            until_sync(lambda: waits_for_a_lock(starter.pid))
            assert sql(url, "SELECT 1") == "1"
            joined.communicate()
            assert starter.wait(timeout=20) == 0
        assert processes_of(data_dir) == []

    def test_it_waits_for_an_owner_that_is_starting(self, base: Path) -> None:
        owner = EmbeddedPostgres(base / "data")
        starting = threading.Thread(target=owner.start)
        starting.start()
        until_sync((base / "data" / "lock").exists)
        with EmbeddedPostgres(base / "data").attach() as url:
            assert sql(url, "SELECT 1") == "1"
        starting.join()
        assert ask(base / "data" / "run") is Answer.READY
        owner.stop()

    def test_a_failing_command_stops_what_it_started(self, data_dir: Path) -> None:
        with pytest.raises(ZeroDivisionError), EmbeddedPostgres(data_dir).attach():
            _ = 1 / 0
        assert processes_of(data_dir) == []


class TestPlaces:
    @pytest.mark.parametrize("name", ["x" * 120, "with space", "a:b,c", "dönerbude"])
    def test_a_path_unfit_for_a_socket_gets_one_elsewhere(self, base: Path, data_dir: Path, name: str) -> None:
        state = base / "s"
        (base / name).mkdir()
        data_dir.rename(base / name / "data")
        server = EmbeddedPostgres(base / name / "data", state_dir=state)
        server.start()
        socket_dir = server.placement.socket_dir
        assert server.placement.home == base / name / "data"
        assert not socket_dir.is_relative_to(base / name)
        assert len(os.fsencode(socket_dir / ".s.PGSQL.5432")) <= 103
        assert mode(socket_dir) == 0o700
        assert sql(server.url, "SELECT 1") == "1"
        server.stop()
        socket_dir.rmdir()

    def test_an_existing_directory_with_content_keeps_its_mode(self, base: Path) -> None:
        (base / "home").mkdir(mode=0o755)
        (base / "home" / "letter.txt").write_text("mine")
        prepare_data_dir(base / "home")
        assert mode(base / "home") == 0o755

    def test_a_file_is_no_data_dir(self, base: Path) -> None:
        (base / "file").write_text("")
        with pytest.raises(EmbeddedPostgresError, match="cannot be used as data dir"):
            EmbeddedPostgres(base / "file").start()

    @as_root
    def test_behind_a_closed_parent_the_cluster_lives_elsewhere_and_says_so(self, base: Path) -> None:
        closed, state = base / "closed", base / "state"
        closed.mkdir(mode=0o700)
        server = EmbeddedPostgres(closed / "data", state_dir=state)
        server.start()
        sql(server.url, "CREATE TABLE kept AS SELECT 1 AS id")
        home = server.placement.home
        assert home.parent == state
        assert str(home) in (server.placement.notice or "")
        assert mode(closed) == 0o700
        assert not (closed / "data" / "pg").exists()
        server.stop()
        closed.chmod(0o711)
        again = EmbeddedPostgres(closed / "data", state_dir=base / "other")
        again.start()
        assert again.placement.home == home
        assert sql(again.url, "SELECT id FROM kept") == "1"
        again.stop()

    @as_root
    def test_a_moved_data_dir_does_not_silently_start_empty(self, base: Path) -> None:
        closed = base / "closed"
        closed.mkdir(mode=0o700)
        server = EmbeddedPostgres(closed / "data", state_dir=base / "state")
        server.start()
        server.stop()
        (closed / "data").rename(closed / "moved")
        moved = EmbeddedPostgres(closed / "moved", state_dir=base / "state")
        with pytest.raises(EmbeddedPostgresError, match="was moved"):
            moved.start()
        (server.placement.home / "data-dir").write_text(str(closed / "moved"))
        moved.start()
        moved.stop()

    @as_root
    def test_a_cluster_that_became_unreachable_is_not_replaced(self, data_dir: Path) -> None:
        data_dir.parent.chmod(0o700)
        with pytest.raises(EmbeddedPostgresError, match="cannot enter"):
            EmbeddedPostgres(data_dir, state_dir=data_dir / "state").start()
        assert processes_of(data_dir) == []

    @as_root
    def test_programs_out_of_reach_are_copied(self, base: Path, package: Path) -> None:
        package.parent.chmod(0o700)
        for _ in range(2):
            server = EmbeddedPostgres(base / "data", state_dir=base / "state", package=package)
            server.start()
            program = Path(f"/proc/{postmaster_pid(base / 'data')}/exe").readlink()
            assert program.is_relative_to(base / "state")
            server.stop()
        assert mode(package.parent) == 0o700
        assert len(list((base / "state").glob("bin-*"))) == 1

    @as_root
    def test_an_unprivileged_user_runs_it_as_itself(self, base: Path, package: Path) -> None:
        home = base / "home"
        home.mkdir()
        os.chown(home, 65534, 65534)
        with child(UNPRIVILEGED, home / "data", package) as (process, line):
            pass
        assert process.returncode == 0
        assert line.startswith("0o700 True postgresql+asyncpg://")
        server = EmbeddedPostgres(home / "data", state_dir=base / "state", package=package)
        server.start()
        assert Path(f"/proc/{postmaster_pid(home / 'data')}").stat().st_uid == 65534
        server.stop()
