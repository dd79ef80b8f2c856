"""The console script `marqetfi`: its commands, and how it ends when one of them fails."""

import sys
from typing import Annotated, Any, ClassVar

import typer

from app.cli.console import show_failure, write_line
from app.cli.failure import VALUE_ERROR, Failure
from app.cli.lazy import Lazy, LazyGroup
from app.core import logging
from app.core.version import VERSION

SERVER = "Run a server"
ACCOUNT = "Account, on a running server"
MARKET = "Prices, on a running server"
TRADING = "Trading, on a running server"


class Root(LazyGroup):
    """Every command of the console script."""

    table: ClassVar = {
        "serve": Lazy("app.cli.serving:serve", "Run the API, and everything it needs.", SERVER),
        "engine": Lazy(
            "app.cli.engine:engine", "Run prices, the order engine and settlement, without the API.", SERVER
        ),
        "worker": Lazy("app.cli.worker:worker", "Do the jobs that RabbitMQ hands out, and relay events.", SERVER),
        "beat": Lazy("app.cli.worker:beat", "Ask RabbitMQ for the jobs that repeat.", SERVER),
        "migrate": Lazy("app.cli.database:migrate", "Bring the database to the newest migration.", SERVER),
        "admin": Lazy("app.cli.admin:app", "Manage administrators.", SERVER),
        "trading-state": Lazy("app.cli.trading_states:app", "Halt, reduce and release trading.", SERVER),
        "seed": Lazy("app.cli.seed:seed", "Make a demo user with a few trades.", SERVER),
        "doctor": Lazy("app.cli.doctor:doctor", "Check settings, database, migrations and the books.", SERVER),
        "register": Lazy("app.cli.session:register", "Create an account, and log in.", ACCOUNT),
        "login": Lazy("app.cli.session:login", "Log in; later commands use the session.", ACCOUNT),
        "logout": Lazy("app.cli.session:logout", "End the session.", ACCOUNT),
        "whoami": Lazy("app.cli.session:whoami", "Show the account that is logged in.", ACCOUNT),
        "sessions": Lazy("app.cli.sessions:app", "List where the account is logged in, and end a session.", ACCOUNT),
        "portfolio": Lazy("app.cli.account:portfolio", "Show money, equity and results.", ACCOUNT),
        "limits": Lazy("app.cli.limits:limits", "Show what may still be opened, and the requests left.", ACCOUNT),
        "analytics": Lazy("app.cli.analytics:app", "Show results by day, week or month.", ACCOUNT),
        "events": Lazy("app.cli.account:events", "Show what happened to the account, the latest last.", ACCOUNT),
        "webhooks": Lazy("app.cli.webhooks:app", "Make, test and look after webhook endpoints.", ACCOUNT),
        "paper": Lazy("app.cli.account:paper", "Manage the paper account.", ACCOUNT),
        "pairs": Lazy("app.cli.pairs:pairs", "List what can be traded.", MARKET),
        "prices": Lazy("app.cli.prices:app", "Get, watch and make up prices.", MARKET),
        "candles": Lazy("app.cli.candles:candles", "Show a pair's candles of the mark price, the latest last.", MARKET),
        "trade": Lazy("app.cli.trades:app", "Open, close and look at trades.", TRADING),
        "positions": Lazy("app.cli.trades:positions", "List open positions.", TRADING),
        "orders": Lazy("app.cli.orders:orders", "List orders, newest first.", TRADING),
        "order": Lazy("app.cli.orders:app", "Attach, look at, amend and cancel orders.", TRADING),
        "cancel-all-after": Lazy(
            "app.cli.dead_man_switch:cancel_all_after",
            "Cancel what rests after so many seconds, unless this is said again before.",
            TRADING,
        ),
    }

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a failure is told as the command was asked to tell everything."""
        as_json = "--json" in ctx.args
        try:
            return super().invoke(ctx)
        except Failure as failure:
            show_failure(failure, as_json=as_json)
            raise typer.Exit(failure.exit_code) from None
        except typer.BadParameter as wrong:
            wrong.message = wrong.message.removeprefix(VALUE_ERROR)
            raise


app = typer.Typer(cls=Root, no_args_is_help=True, pretty_exceptions_enable=False)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        write_line(VERSION)
        raise typer.Exit


@app.callback()
def marqetfi(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """One API in front of perpetual exchanges: run it, and trade with it."""


def main() -> None:
    """The entry point of the installed script."""
    logging.configure(level="WARNING", style="pretty", stream=sys.stderr)
    app(prog_name="marqetfi")
