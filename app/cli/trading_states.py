"""`marqetfi trading-state`: halt, reduce and release trading, whether a server runs or not."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from app.cli.client import Document
from app.cli.console import screen, write_json
from app.cli.environment import load_settings
from app.cli.failure import Failure
from app.cli.offline import migrated_url, units_of_work
from app.cli.options import AsJson
from app.cli.tables import Column, instant, show
from app.core.json import rfc3339
from app.domain.enums import StateScope, TradingState
from app.domain.errors import MarqetError
from app.domain.routing import VENUES
from app.domain.trading_state import EVERYTHING
from app.models.control import TradingStateRow
from app.services.trading_state_service import change_state

CONSOLE = "console"
LONGEST_REASON = 500

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Halt, reduce and release trading."""


@app.command("show")
def list_states(as_json: AsJson = False) -> None:
    """Show every state that is not active."""
    with migrated_url(load_settings()) as url:
        rows = [_told(row) for row in asyncio.run(_restricted(url))]
    if as_json:
        write_json({"states": rows})
        return
    columns = [
        Column("Scope", lambda row: str(row["scope"])),
        Column("Key", lambda row: str(row["key"])),
        Column("State", lambda row: Text(str(row["state"]), "bold yellow")),
        Column("Reason", lambda row: str(row["reason"])),
        Column("Set by", lambda row: str(row["changed_by"])),
        Column("Since (UTC)", instant("updated_at"), is_minor=True),
    ]
    show(columns, rows, "Trading is active everywhere.")


@app.command("set")
def set_state(
    scope: Annotated[StateScope, typer.Argument(help="What it is about.")],
    key: Annotated[str, typer.Argument(help="`all` of global; a venue's name, a pair's or a user's id.")],
    state: Annotated[TradingState, typer.Argument(help="reducing: no new entries. halted: nothing is sent.")],
    reason: Annotated[str, typer.Option(help="Why; shown to whoever is refused.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Set what trading is allowed; requests and exits follow at once, resting entries within a second."""
    if not reason.strip() or len(reason) > LONGEST_REASON:
        raise typer.BadParameter(f"give a reason of 1 to {LONGEST_REASON} characters", param_hint="--reason")
    with migrated_url(load_settings()) as url:
        row = _told(asyncio.run(_set(url, scope, key, state, reason.strip())))
    if as_json:
        write_json(row)
        return
    about = "everything" if key == EVERYTHING else f"{scope} {key}"
    screen().print(Text.assemble(f"Trading of {about} is ", (state.value, "bold"), " now."))


async def _restricted(url: str) -> Sequence[TradingStateRow]:
    async with units_of_work(url) as (_, uow), uow() as work:
        return await work.trading_states.restricted()


async def _set(url: str, scope: StateScope, key: str, state: TradingState, reason: str) -> TradingStateRow:
    try:
        async with units_of_work(url) as (_, uow), uow() as work:
            return await change_state(work, VENUES, scope, key, state, reason, CONSOLE)
    except MarqetError as error:
        raise Failure(error.code, error.message, details=error.details) from None


def _told(row: TradingStateRow) -> Document:
    return {
        "scope": row.scope.value,
        "key": row.key,
        "state": row.state.value,
        "reason": row.reason,
        "changed_by": row.changed_by,
        "updated_at": rfc3339(row.updated_at),
    }
