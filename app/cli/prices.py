"""The group of price commands."""

from typing import ClassVar

import typer

from app.cli.lazy import Lazy, LazyGroup


class Prices(LazyGroup):
    """Commands about prices."""

    table: ClassVar = {
        "get": Lazy("app.cli.price_watch:get", "Show the prices of pairs."),
        "watch": Lazy("app.cli.price_watch:watch", "Show prices as they change, until Ctrl-C."),
        "sample": Lazy("app.cli.sample:sample", "Write a made-up recording of bitcoin as CSV."),
    }


app = typer.Typer(cls=Prices, no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Get, watch and make up prices."""
