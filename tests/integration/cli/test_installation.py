"""The commands that work on a database themselves, in this process; a server for the length of a block."""

import asyncio
import json
import os
import socket
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx2
import pytest
import websockets
from sqlalchemy.engine import make_url
from typer.testing import CliRunner, Result

from app.bootstrap import Container
from app.cli import serving
from app.cli.failure import Failure
from app.cli.main import app
from app.config.settings import Settings
from app.core import logging, migrations
from app.core.database import Database
from app.core.process_lock import ProcessLock
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.trading_service import Trader
from tests.conftest import TEST_SECRET, MakeDatabase, MakeSettings
from tests.factories import PASSWORD, Person, open_terms
from tests.ports import free_port
from tests.redis_server import redis_server
from tests.servers import RunningServer
from tests.waiting import until

type Run = Callable[..., Coroutine[None, None, Result]]


@pytest.fixture
def run(database_url: str, tmp_path: Path) -> Run:
    """Runs a command on the module's database, in a thread."""

    async def run(*words: str, stdin: str | None = None, code: int = 0, **settings: str) -> Result:
        own = {"DATABASE_URL": database_url, "MARQETFI_DATA_DIR": str(tmp_path), "PORT": "9", "SECRET_KEY": TEST_SECRET}
        env = {**own, "PASSWORD_MEMORY_KIB": "8", "PASSWORD_TIME_COST": "1", "COLUMNS": "200", **settings}
        ended = await asyncio.to_thread(CliRunner().invoke, app, list(words), input=stdin, env=env)
        if ended.exception is not None and not isinstance(ended.exception, SystemExit):
            raise ended.exception
        assert ended.exit_code == code, ended.output
        return ended

    return run


async def test_migrations_there_and_back(run: Run, empty_database: MakeDatabase) -> None:
    url = {"DATABASE_URL": empty_database()}
    assert "at none, newest is" in (await run("doctor", code=1, **url)).stdout
    newest = migrations.head()
    assert json.loads((await run("migrate", "--json", **url)).stdout) == {"before": "base", "after": newest}
    assert f"Already at {newest}." in (await run("migrate", **url)).stdout
    refused = await run("migrate", "--to", "base", stdin="n\n", code=1, **url)
    assert "drops what came between" in refused.stdout
    assert f"{newest} -> base" in (await run("migrate", "--to", "base", "--yes", **url)).stdout
    assert "REVISION_UNKNOWN" in (await run("migrate", "--to", "0999", code=1, **url)).stderr


async def test_a_server_needs_a_migrated_database(
    run: Run, empty_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its logs would go on being written to what the runner shows here.
    monkeypatch.setattr(logging, "configure", lambda **_: None)
    told = await run("serve", code=1, DATABASE_URL=empty_database(), PORT="0")
    assert "MIGRATIONS_PENDING" in told.stderr
    assert "hint: marqetfi migrate" in told.stderr


async def test_a_database_that_lets_us_not_in(run: Run) -> None:
    unreachable = {"DATABASE_URL": "postgresql+asyncpg://someone:hidden@127.0.0.1:9/none"}
    for words in (["migrate"], ["admin", "create", "a@example.com"]):
        ended = await run(*words, code=1, **unreachable)
        assert "error: DATABASE_FAILED" in ended.stderr
        assert "hidden" not in ended.output
    told = json.loads((await run("doctor", "--json", code=1, **unreachable)).stdout)
    assert [one["verdict"] for one in told["findings"] if one["check"] == "database"] == ["failed"]


async def test_a_database_that_is_not_there_is_named(run: Run, empty_database: MakeDatabase) -> None:
    gone = make_url(empty_database()).set(database="gone").render_as_string(hide_password=False)
    told = await run("migrate", code=1, DATABASE_URL=gone)
    assert "error: DATABASE_FAILED" in told.stderr
    assert "does not exist" in told.stderr
    assert "sqlalche" not in told.output


async def test_faults_that_mean_nothing_are_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "configure", lambda **_: None)
    for name, value in (("FAULTS", "nowhere:kill"), ("VENUE_FAULTS", "foo=1")):
        told = await run("serve", code=1, PORT="0", **{name: value})
        assert "error: FAULTS_INVALID" in told.stderr
        assert value.partition(":")[0].partition("=")[0] in told.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"FAULTS": "nowhere:kill"}, "nowhere is no fault point"),
        ({"VENUE_FAULTS": "foo=1"}, "foo=1 is none of"),
        ({"PAPER_FEED": "replay", "PAPER_REPLAY": "BTCUSDT=gone.csv"}, "gone.csv"),
    ],
)
async def test_doctor_refuses_what_a_server_refuses(run: Run, settings: dict[str, str], said: str) -> None:
    told = json.loads((await run("doctor", "--json", code=1, **settings)).stdout)
    (finding,) = [one for one in told["findings"] if one["verdict"] == "failed"]
    assert finding["check"] == "settings"
    assert said in finding["seen"]
    # What else is wrong is told as well.
    assert "books" in {one["check"] for one in told["findings"]}


async def test_doctor_finds_what_is_wrong(run: Run, database: Database, uow: UnitOfWorkFactory, user: Person) -> None:
    assert (await run("doctor")).stdout.count(" ok ") >= 4
    async with uow() as work:
        account = await work.paper_accounts.of_user(user.id, Decimal(100))
    connection = await asyncpg.connect(
        database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    )
    await connection.execute("UPDATE paper_accounts SET balance = balance + 1 WHERE id = $1", account.id)
    shown = await run("doctor", code=1)
    assert f"margin in use (1: {account.id}); stop trading" in " ".join(shown.stdout.split())
    await connection.execute("UPDATE paper_accounts SET balance = balance - 1 WHERE id = $1", account.id)
    await connection.close()
    assert "SETTINGS" not in (await run("doctor")).output
    wrong = json.loads((await run("doctor", "--json", code=1, PORT="many")).stdout)
    assert wrong["findings"][0]["seen"].startswith("PORT: ")


async def test_doctor_looks_at_the_server_that_is_named(run: Run, server: RunningServer) -> None:
    def seen(ended: Result) -> tuple[str, str]:
        (finding,) = [one for one in json.loads(ended.stdout)["findings"] if one["check"] == "server"]
        return finding["verdict"], finding["seen"].partition(",")[0]

    assert seen(await run("doctor", "--json"))[0] == "note", "nothing listens where these settings say"
    up = ("ok", f"{server.url} is up")
    assert seen(await run("doctor", "--json", MARQETFI_URL=server.url)) == up
    assert seen(await run("doctor", "--json", "--url", server.url, MARQETFI_URL="http://127.0.0.1:9")) == up
    named = await run("doctor", "--json", code=1, MARQETFI_URL="http://127.0.0.1:9")
    assert seen(named)[0] == "failed"
    assert "error: URL_INVALID" in (await run("doctor", "--url", "nonsense", code=1)).stderr


async def test_doctor_looks_at_redis_and_rabbitmq(run: Run) -> None:
    async def seen(code: int, **settings: str) -> dict[str, tuple[str, str]]:
        told = json.loads((await run("doctor", "--json", code=code, **settings)).stdout)
        assert "hidden" not in json.dumps(told)
        return {one["check"]: (one["verdict"], one["seen"]) for one in told["findings"]}

    assert not {"cache", "broker"} & set(await seen(0))
    dead = f"127.0.0.1:{free_port()}"
    found = await seen(1, REDIS_URL=f"redis://:hidden@{dead}", BROKER_URL=f"amqp://ann:hidden@{dead}")
    for check, setting in (("cache", "REDIS_URL"), ("broker", "BROKER_URL")):
        verdict, said = found[check]
        assert verdict == "failed"
        assert f"{setting} cannot be used" in said
        assert f"{setting} names host" in said
    assert found["books"][0] == "ok", "what else is there is looked at as well"
    with redis_server() as redis:
        assert (await seen(0, REDIS_URL=redis.url))["cache"] == ("ok", f"Redis answers at {urlsplit(redis.url).netloc}")


async def test_doctor_notes_names_that_mean_nothing(run: Run, container: Container) -> None:
    noted = json.loads((await run("doctor", "--json", ASSET_VENUES="FOO=paper,BTC-USD=paper", PAPER_SEEDS="2")).stdout)
    notes = {one["check"]: one["seen"] for one in noted["findings"] if one["verdict"] == "note"}
    assert noted["ok"]
    assert notes["routing"] == "ASSET_VENUES names FOO, which no pair trades"
    assert notes["names"] == "PAPER_SEEDS is no setting; do you mean PAPER_SEED?"
    unknown = await run("doctor", ASSET_VENUES="BTC=nowhere", code=1)
    assert "no venue is called nowhere" in unknown.stdout


async def test_doctor_notes_what_netting_does_not_merge(
    run: Run, server: RunningServer, container: Container, user: Person
) -> None:
    async def noted() -> list[str]:
        told = json.loads((await run("doctor", "--json", PAPER_NETTING="true")).stdout)
        return [one["seen"] for one in told["findings"] if one["check"] == "netting"]

    assert await noted() == []
    await until(lambda: container.board.latest(1))
    for _ in range(2):
        await container.trading.open_trade(Trader(user.id, may_trade=True, is_sandbox=False), open_terms(), None)
    assert "1 accounts hold positions of one market" in (await noted())[0]


async def test_administrators(run: Run, uow: UnitOfWorkFactory, user: Person) -> None:
    create = ("admin", "create", "--password-stdin")
    made = await run(*create, "Root@example.com", stdin=f"{PASSWORD}\n")
    assert "root@example.com is now an account, and an administrator" in made.stdout
    assert "is an administrator now" in (await run(*create, user.email)).stdout
    async with uow() as work:
        rows = [await work.users.by_email(email) for email in ("root@example.com", user.email)]
    assert [row.is_superuser for row in rows if row] == [True, True]
    taken = await run(*create, "other@example.com", "--username", "ROOT", stdin=f"{PASSWORD}\n", code=1)
    assert "ALREADY_EXISTS" in taken.stderr
    weak = json.loads((await run(*create, "--json", "b@example.com", stdin="password\n", code=1)).stderr)["error"]
    assert [wrong["field"] for wrong in weak["details"]["errors"]] == ["username", "password"]
    assert PASSWORD not in made.output


async def test_a_server_for_the_length_of_a_block(make_settings: MakeSettings) -> None:
    async with serving.serving(make_settings()) as url:
        async with httpx2.AsyncClient(base_url=url, trust_env=False) as http:
            health = await http.get("/health")
            assert health.json()["parts"]["database"] == "up"
            login = {"email": "block@example.com", "username": "block", "password": PASSWORD}
            token = (await http.post("/api/v1/auth/register", json=login)).json()["access_token"]
        listener = await websockets.connect(
            url.replace("http", "ws") + "/ws", additional_headers={"Authorization": f"Bearer {token}"}
        )
        assert json.loads(await listener.recv())["type"] == "welcome"
    assert json.loads(await listener.recv())["type"] == "reconnect"
    await listener.wait_closed()
    assert listener.close_code == 1012


async def test_a_server_that_cannot_start_is_a_failure(make_settings: MakeSettings) -> None:
    settings = make_settings(paper_feed="replay", paper_replay=["BTCUSDT=/no/such/file.csv"])
    with pytest.raises(Failure) as caught:
        async with serving.serving(settings):
            pytest.fail("it started")
    assert caught.value.code == "REPLAY_FILE_INVALID"
    assert caught.value.details["file"] == "/no/such/file.csv"


async def test_planting_twice_finds_what_is_there(
    run: Run, make_settings: MakeSettings, new_database: MakeDatabase
) -> None:
    url = new_database()
    first = json.loads((await run("seed", "--json", DATABASE_URL=url)).stdout)["trades"]
    assert first == {
        "demo-trailing": "opened",
        "demo-oco": "opened",
        "demo-bracket": "opened",
        "demo-closed": "opened, and closed",
        "demo-limit": "rests",
    }
    async with serving.serving(make_settings(database_url=url)) as server:
        again = await run("seed", "--url", server)
        assert again.stdout.count("was there") == len(first)
        assert "marqetfi login --email demo@example.com" in again.stdout
        other = await run("seed", "--url", server, "--password", "another phrase", code=1)
        assert "exists with another password" in other.stderr


def test_an_address_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        env = {"PORT": port, "MARQETFI_DATA_DIR": str(tmp_path)}
        told = CliRunner().invoke(app, ["serve"], env=env)
        assert told.exit_code == 1
        assert f"Cannot listen on 127.0.0.1 port {port}" in told.stderr
        lock = ProcessLock(tmp_path / "lock")
        lock.acquire()
        told = CliRunner().invoke(app, ["serve"], env=env)
        lock.release()
        assert told.exit_code == 3
        assert f"is in use by process {os.getpid()}" in told.stderr


async def test_no_demo_user_in_production(run: Run) -> None:
    production = {"ENVIRONMENT": "production", "SECRET_KEY": TEST_SECRET}
    assert "REFUSED" in (await run("seed", code=1, **production)).stderr


def test_announcements(capsys: pytest.CaptureFixture[str]) -> None:
    replay = Settings(
        _env_file=None,
        paper_feed="replay",
        paper_replay=["BTCUSDT=a.csv"],
        paper_replay_speed=20,
        paper_replay_loop=True,
    )
    serving._announce(replay, "http://127.0.0.1:1", is_first=False)
    assert "replay of BTCUSDT=a.csv at 20x, again and again" in capsys.readouterr().err
    serving._announce(Settings(_env_file=None), "http://127.0.0.1:1", is_first=True)
    usual = capsys.readouterr().err
    assert "marqetfi register --url http://127.0.0.1:1" in usual
    assert "faults" not in usual
    assert "netting" not in usual


def test_what_nobody_expects_is_announced(capsys: pytest.CaptureFixture[str]) -> None:
    odd = Settings(
        _env_file=None,
        faults=["open.committed:kill:nth=3"],
        venue_faults=["late=0.1", "reject=0.1"],
        paper_netting=True,
    )
    serving._announce(odd, "http://127.0.0.1:1", is_first=False)
    said = capsys.readouterr().err
    assert "FAULTS=open.committed:kill:nth=3: things go wrong on purpose" in said
    assert "VENUE_FAULTS=late=0.1,reject=0.1: things go wrong on purpose" in said
    assert "netting" in said
