"""`marqetfi doctor`: what is in order in an installation, and what is not."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from enum import StrEnum

import typer
from rich.text import Text

from app.cli.client import api_client
from app.cli.console import write_json
from app.cli.environment import TOGETHER, load_settings, unknown_names
from app.cli.failure import EXIT_FAILED, Failure
from app.cli.offline import database_url, units_of_work
from app.cli.options import AsJson
from app.cli.tables import Column, show
from app.config.settings import Settings
from app.core import migrations
from app.domain.assets import SymbolTable
from app.domain.enums import IntentStatus
from app.domain.routing import parse_rules
from app.repositories.unit_of_work import UnitOfWork

MOST_NAMED = 5
MOST_OVERDUE = 1000


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


def doctor(as_json: AsJson = False) -> None:
    """Check settings, database, migrations and ledger."""
    findings = list(_findings())
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


def _findings() -> Iterator[Finding]:
    """Check after check; those that need what has failed are left out."""
    try:
        settings = load_settings()
    except Failure as failure:
        yield Finding("settings", Verdict.FAILED, _told(failure))
        return
    yield Finding("settings", Verdict.OK, f"ENVIRONMENT={settings.environment}, {_secret(settings)}")
    if unknown := unknown_names():
        yield Finding("names", Verdict.NOTE, "; ".join(map(_unknown, unknown.items())))
    yield _server()
    with ExitStack() as stack:
        try:
            url = stack.enter_context(database_url(settings))
        except Failure as failure:
            yield Finding("database", Verdict.FAILED, _told(failure))
            return
        yield from asyncio.run(_database_findings(url, settings))


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


def _server() -> Finding:
    """How the server is that listens where the settings say."""
    with api_client() as client:
        try:
            health = client.health()
        except Failure as failure:
            return Finding("server", Verdict.NOTE, failure.message)
    down = [name for name, state in health["parts"].items() if state != "up"]
    if down:
        return Finding("server", Verdict.FAILED, f"{client.url} is up, but not its {', '.join(down)}")
    return Finding("server", Verdict.OK, f"{client.url} is up, version {health['version']}")


async def _database_findings(url: str, settings: Settings) -> list[Finding]:
    findings = []
    async with units_of_work(url) as (database, uow):
        findings.append(Finding("database", Verdict.OK, "answers"))
        revision = await migrations.current(database)
        is_newest = revision == migrations.head()
        seen = f"at {revision or 'none'}" + ("" if is_newest else f", newest is {migrations.head()}: marqetfi migrate")
        findings.append(Finding("migrations", Verdict.OK if is_newest else Verdict.FAILED, seen))
        if is_newest:
            async with uow() as work:
                findings += [await _ledger(work), await _balances(work), await _intents(work)]
                if unlisted := await _unlisted(work, settings):
                    findings.append(Finding("routing", Verdict.NOTE, unlisted))
    return findings


async def _unlisted(work: UnitOfWork, settings: Settings) -> str | None:
    """The rules of ASSET_VENUES that route nothing, since no pair has that name."""
    pairs = await work.pairs.everything()
    table = SymbolTable({pair.id: pair for pair in pairs})
    rules = parse_rules(settings.default_venue, settings.asset_venues, settings.category_venues)
    unlisted = sorted(name for name in rules.asset_venues if not table.find(name))
    # The first start of a server lists the pairs.
    return f"ASSET_VENUES names {', '.join(unlisted)}, which no pair trades" if pairs and unlisted else None


async def _ledger(work: UnitOfWork) -> Finding:
    if await work.paper_accounts.is_zero():
        return Finding("paper ledger", Verdict.OK, "every booking sums to zero")
    return Finding("paper ledger", Verdict.FAILED, "the entries do not sum to zero: money came from nowhere")


async def _balances(work: UnitOfWork) -> Finding:
    differences = await work.paper_accounts.differences()
    if not differences:
        return Finding("paper balances", Verdict.OK, "every account has what its entries say")
    named = ", ".join(str(difference.account_id) for difference in differences[:MOST_NAMED])
    return Finding("paper balances", Verdict.FAILED, f"{len(differences)} accounts differ from their entries: {named}")


async def _intents(work: UnitOfWork) -> Finding:
    overdue = await work.intents.due((IntentStatus.NEW, IntentStatus.SENT), MOST_OVERDUE)
    if not overdue:
        return Finding("settlement", Verdict.OK, "nothing waits")
    seen = f"{len(overdue)} orders to venues wait; a running server settles them within seconds"
    return Finding("settlement", Verdict.NOTE, seen)
