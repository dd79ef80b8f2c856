"""`marqetfi doctor`: what is in order in an installation, and what is not."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial

import typer
from rich.text import Text

from app.cli.client import api_client
from app.cli.connections import check_broker, check_cache
from app.cli.console import write_json
from app.cli.environment import TOGETHER, load_settings, unknown_names
from app.cli.failure import EXIT_FAILED, Failure
from app.cli.hints import START_ENGINE
from app.cli.offline import database_url, units_of_work
from app.cli.options import AsJson, Url
from app.cli.serving import check_start
from app.cli.tables import Column, show
from app.config.settings import Settings
from app.core import migrations
from app.domain.assets import SymbolTable
from app.domain.invariants import InvariantKind, Violation
from app.domain.routing import parse_rules
from app.repositories.invariant_repository import INVARIANTS
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.invariant_service import InvariantService

STOP = "stop trading, keep the database as it is, and report this"
LOOK = "a loop of the server hangs: its log says why"
APART = (
    "PAPER_NETTING is set, and {accounts} accounts hold positions of one market that were opened apart, which are not "
    "merged: close them, or unset it"
)
# What /health calls the part that only an engine brings up.
ENGINE = "order_engine"
START = "a running server looks after it"


class Verdict(StrEnum):
    """How a check ended; `note` is worth knowing, and no fault."""

    OK = "ok"
    NOTE = "note"
    FAILED = "failed"


STYLES = {Verdict.OK: "green", Verdict.NOTE: "yellow", Verdict.FAILED: "bold red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One check, how it ended, and what was seen."""

    check: str
    verdict: Verdict
    seen: str


def doctor(url: Url = None, as_json: AsJson = False) -> None:
    """Check settings, database, migrations and the books.

    All of it is what the settings here name, but for the server, which --url may name.
    """
    findings = list(_findings(url))
    is_sound = all(finding.verdict is not Verdict.FAILED for finding in findings)
    if as_json:
        write_json({"ok": is_sound, "findings": [asdict(finding) for finding in findings]})
    else:
        show(_COLUMNS, [asdict(finding) for finding in findings], "")
    if not is_sound:
        raise typer.Exit(EXIT_FAILED)


_COLUMNS = (
    Column("Check", lambda row: Text(row["check"])),
    Column("", lambda row: Text(row["verdict"], style=STYLES[row["verdict"]])),
    Column("Seen", lambda row: Text(row["seen"])),
)


def _findings(url_of_server: str | None) -> Iterator[Finding]:
    """Check after check; those that need what has failed are left out."""
    try:
        settings = load_settings()
    except Failure as failure:
        yield Finding("settings", Verdict.FAILED, _told(failure))
        return
    yield _startable(settings)
    if unknown := unknown_names():
        yield Finding("names", Verdict.NOTE, "; ".join(map(_unknown, unknown.items())))
    server = _server(url_of_server)
    yield server
    yield from _connections(settings)
    with ExitStack() as stack:
        try:
            url = stack.enter_context(database_url(settings))
        except Failure as failure:
            yield Finding("database", Verdict.FAILED, _told(failure))
            return
        yield from asyncio.run(_database_findings(url, settings, is_served=server.verdict is Verdict.OK))


def _startable(settings: Settings) -> Finding:
    """Whether a server would start with what the settings name."""
    try:
        check_start(settings)
    except Failure as failure:
        return Finding("settings", Verdict.FAILED, failure.message)
    return Finding("settings", Verdict.OK, f"ENVIRONMENT={settings.environment}, {_secret(settings)}")


def _told(failure: Failure) -> str:
    wrong = failure.details.get("errors")
    if isinstance(wrong, list):
        return "; ".join(one["message"] if one["field"] == TOGETHER else ": ".join(one.values()) for one in wrong)
    return failure.message


def _unknown(name_and_near: tuple[str, str | None]) -> str:
    name, near = name_and_near
    return f"{name} is no setting" + (f"; do you mean {near}?" if near else "")


def _secret(settings: Settings) -> str:
    return "SECRET_KEY is set" if settings.secret_key else f"the secret key is kept in {settings.marqetfi_data_dir}"


def _server(url: str | None) -> Finding:
    """How the server is that was named, or else that listens where the settings say."""
    with api_client(url) as client:
        try:
            health = client.health()
        except Failure as failure:
            # One that was named is meant to be there.
            return Finding("server", Verdict.NOTE if url is None else Verdict.FAILED, failure.message)
    down = [name for name, state in health["parts"].items() if state != "up"]
    if down:
        seen = f"{client.url} is up, but not its {', '.join(down)}"
        return Finding("server", Verdict.FAILED, f"{seen}. {START_ENGINE}" if ENGINE in down else seen)
    return Finding("server", Verdict.OK, f"{client.url} is up, version {health['version']}")


def _connections(settings: Settings) -> Iterator[Finding]:
    """Whether what is named beside the database answers."""
    if settings.redis_url is not None:
        yield _connection("cache", partial(check_cache, settings.redis_url.get_secret_value()))
    if settings.broker_url is not None:
        broker_url = settings.broker_url.get_secret_value()
        yield _connection("broker", partial(check_broker, broker_url, settings.broker_queue))


def _connection(check: str, answers: Callable[[], str]) -> Finding:
    try:
        return Finding(check, Verdict.OK, answers())
    except Failure as failure:
        return Finding(check, Verdict.FAILED, f"{failure.message} {failure.hint}")


async def _database_findings(url: str, settings: Settings, *, is_served: bool) -> list[Finding]:
    findings = []
    async with units_of_work(url) as (database, uow):
        findings.append(Finding("database", Verdict.OK, "answers"))
        revision = await migrations.current(database)
        is_newest = revision == migrations.head()
        seen = f"at {revision or 'none'}" + ("" if is_newest else f", newest is {migrations.head()}: marqetfi migrate")
        findings.append(Finding("migrations", Verdict.OK if is_newest else Verdict.FAILED, seen))
        if is_newest:
            findings += await _books(uow, is_served=is_served)
            async with uow() as work:
                if unlisted := await _unlisted(work, settings):
                    findings.append(Finding("routing", Verdict.NOTE, unlisted))
                if settings.paper_netting and (apart := await work.trades.opened_apart("paper")):
                    findings.append(Finding("netting", Verdict.NOTE, APART.format(accounts=apart)))
    return findings


async def _unlisted(work: UnitOfWork, settings: Settings) -> str | None:
    """The rules of ASSET_VENUES that route nothing, since no pair has that name."""
    pairs = await work.pairs.everything()
    table = SymbolTable({pair.id: pair for pair in pairs})
    rules = parse_rules(settings.default_venue, settings.asset_venues, settings.category_venues)
    unlisted = sorted(name for name in rules.asset_venues if not table.find(name))
    # The first start of a server lists the pairs.
    return f"ASSET_VENUES names {', '.join(unlisted)}, which no pair trades" if pairs and unlisted else None


async def _books(uow: UnitOfWorkFactory, *, is_served: bool) -> list[Finding]:
    """Every invariant that does not hold; one line where all do."""
    findings = [
        _broken(violation, is_served=is_served) for violation in await InvariantService(uow).check(is_full=True)
    ]
    return findings or [Finding("books", Verdict.OK, f"all {len(INVARIANTS)} invariants hold")]


def _broken(violation: Violation, *, is_served: bool) -> Finding:
    """What is broken and what to do; what waits is no fault where no server runs."""
    if violation.kind is not InvariantKind.DEADLINE:
        return Finding("books", Verdict.FAILED, f"{violation}; {STOP}")
    if is_served:
        return Finding("books", Verdict.FAILED, f"{violation}; {LOOK}")
    return Finding("books", Verdict.NOTE, f"{violation}; {START}")
