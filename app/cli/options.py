"""Options and values that several commands take."""

import re
import sys
from decimal import Decimal
from typing import Annotated

import typer

from app.cli.client import Document
from app.domain.money import plain

_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?|\.[0-9]+")

Url = Annotated[
    str | None,
    typer.Option(
        "--url", envvar="MARQETFI_URL", help="The server; without it, the one on this machine.", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for programs: the API's own answer, one line.")]
PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]


def decimal(text: str) -> Decimal:
    """Plain digits such as 100 or 0.25."""
    if text.startswith("-") and _NUMBER.fullmatch(text[1:]):
        raise typer.BadParameter(f"{text!r} is negative: give a positive number such as 100 or 0.25")
    if _NUMBER.fullmatch(text) is None:
        raise typer.BadParameter(f"{text!r} is not a number such as 100 or 0.25")
    return Decimal(text)


def fraction(text: str) -> Decimal:
    """A part of a whole: 0.5, or the same as 50%."""
    return decimal(text[:-1]) / 100 if text.endswith("%") else decimal(text)


def trailing(text: str) -> Document:
    """A trailing stop as the API takes it: by percentage (0.5%) or by distance (500)."""
    if text.endswith("%"):
        return {"trailing_stop_percentage": plain(decimal(text[:-1]))}
    return {"trailing_stop_distance": plain(decimal(text))}


type Level = Decimal | None

Stop = Annotated[Level, typer.Option("--stop", parser=decimal, metavar="PRICE", help="Attach a stop loss.")]
TakeProfit = Annotated[
    Level, typer.Option("--take-profit", parser=decimal, metavar="PRICE", help="Attach a take profit.")
]
Trailing = Annotated[
    Document | None,
    typer.Option("--trailing", parser=trailing, metavar="DISTANCE", help="Attach a trailing stop: 500, or 0.5%."),
]
OcoStop = Annotated[
    Level, typer.Option("--oco-stop", parser=decimal, metavar="PRICE", help="Stop of a pair: one cancels the other.")
]
OcoTakeProfit = Annotated[
    Level, typer.Option("--oco-take-profit", parser=decimal, metavar="PRICE", help="Take profit of that pair.")
]

Activation = Annotated[
    Level, typer.Option("--activation", parser=decimal, metavar="PRICE", help="Where the trailing stop begins.")
]
NoActivation = Annotated[bool, typer.Option("--no-activation", help="Let the trailing stop follow the price at once.")]
TriggerBy = Annotated[
    str | None,
    typer.Option("--trigger-by", metavar="mark|last|exit", help="The price that exits watch.", show_default=False),
]
PriceProtect = Annotated[
    bool | None,
    typer.Option(
        "--price-protect/--no-price-protect",
        help="Exits pass over prices far from the last trade, for at most 5 s.",
        show_default=False,
    ),
]

NewStop = Annotated[Level, typer.Option("--stop", parser=decimal, metavar="PRICE", help="A stop loss's new price.")]
NewTakeProfit = Annotated[
    Level, typer.Option("--take-profit", parser=decimal, metavar="PRICE", help="A take profit's new price.")
]
NewTrailing = Annotated[
    Document | None,
    typer.Option(
        "--trailing", parser=trailing, metavar="DISTANCE", help="A trailing stop's new distance: 500, or 0.5%."
    ),
]
NewOcoStop = Annotated[
    Level, typer.Option("--oco-stop", parser=decimal, metavar="PRICE", help="The new stop of an OCO pair.")
]
NewOcoTakeProfit = Annotated[
    Level, typer.Option("--oco-take-profit", parser=decimal, metavar="PRICE", help="The new take profit of that pair.")
]


def levels(
    stop: Level,
    take_profit: Level,
    trailing_stop: Document | None,
    oco_stop: Level,
    oco_take_profit: Level,
    activation: Level = None,
) -> Document:
    """The levels that were given, as the API takes them: numbers as text, which keeps every digit."""
    given = {
        "stop_price": stop,
        "take_profit_price": take_profit,
        "oco_stop_price": oco_stop,
        "oco_take_profit_price": oco_take_profit,
        "activation_price": activation,
    }
    return {name: plain(level) for name, level in given.items() if level is not None} | (trailing_stop or {})


def check_pair(oco_stop: Level, oco_take_profit: Level) -> None:
    """Refuse half of a pair of which one cancels the other."""
    if oco_stop is not None and oco_take_profit is None:
        raise typer.BadParameter("--oco-stop needs --oco-take-profit too: one cancels the other")
    if oco_take_profit is not None and oco_stop is None:
        raise typer.BadParameter("--oco-take-profit needs --oco-stop too: one cancels the other")


def watching(trigger_by: str | None, price_protect: bool | None) -> Document:
    """How exits watch the price, where it was said, as the API takes it."""
    given = {"trigger_by": trigger_by, "price_protect": price_protect}
    return {name: value for name, value in given.items() if value is not None}


def read_password(*, from_stdin: bool, is_new: bool = False) -> str:
    """A password from standard input, or asked for without showing it; a new one is asked for twice."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise typer.BadParameter("a password is asked for at a terminal only; give it by --password-stdin")
    answer: str = typer.prompt("Password", hide_input=True, confirmation_prompt=is_new)
    return answer
