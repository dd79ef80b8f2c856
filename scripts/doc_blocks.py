"""The parts of the documentation that follow from the code: tables of settings, errors, moves, events and pairs."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import groupby
from pathlib import Path

from app.domain.errors import CATALOGUE
from app.domain.lifecycle import INTENT_MOVES, ORDER_MOVES, TRADE_MOVES, Moves
from app.domain.money import plain
from app.domain.trading import PairListing
from app.schemas.event_catalogue import CATALOGUE as EVENT_TYPES
from app.services.providers.paper.catalogue import CATALOGUE as PAPER_PAIRS
from scripts.doc_examples import EXAMPLES

ROOT = Path(__file__).resolve().parents[1]
SECTION = re.compile(r"# --- (.+?) -+")
SETTING = re.compile(r"#([A-Z0-9_]+)=(.*)")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a bar inside a cell is escaped."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def settings() -> str:
    """Every setting of .env.example, section by section."""
    parts = []
    for title, rows in _settings((ROOT / ".env.example").read_text().splitlines()):
        parts.append(f"**{title}**\n\n{table(('setting', 'default', 'what it does'), rows)}")
    return "\n\n".join(parts)


def _settings(lines: Sequence[str]) -> Iterator[tuple[str, list[list[str]]]]:
    """The title and the rows of each section; a setting's sentence is what stands in the lines above it."""
    title = ""
    rows: list[list[str]] = []
    above: list[str] = []
    for line in lines:
        if section := SECTION.fullmatch(line):
            if rows:
                yield title, rows
            title, rows = section[1], []
        elif setting := SETTING.fullmatch(line):
            default = f"`{setting[2]}`" if setting[2] else "unset"
            rows.append([f"`{setting[1]}`", default, " ".join(above)])
        above = [*above, line.removeprefix("# ")] if line.startswith("# ") and not section else []
    yield title, rows


def errors() -> str:
    """Every code of the catalogue, by its status."""
    parts = []
    for status, codes in groupby(CATALOGUE.values(), key=lambda row: row.status):
        rows = [[f"`{row.code}`", row.meaning] for row in codes]
        parts.append(f"## {status}\n\n{table(('code', 'meaning, and what to do'), rows)}")
    return "\n\n".join(parts)


def moves[S: StrEnum](lifecycle: Moves[S]) -> str:
    """Which state may follow which."""
    rows = []
    for state, following in lifecycle.items():
        after = ", ".join(f"`{one}`" for one in type(state) if one in following)
        rows.append([f"`{state}`", after or "final"])
    return table(("from", "to"), rows)


def event_types() -> str:
    """The types that stand in the log, with the channel that tells each, and what it means."""
    rows = [
        [f"`{row.type}`", f"`{row.type.channel}`" if row.type.channel else "-", row.description]
        for row in EVENT_TYPES.values()
    ]
    return table(("type", "WebSocket channel", "means"), rows)


def pairs() -> str:
    """What the paper venue trades."""
    head = (
        "symbol",
        "category",
        "price step",
        "size step",
        "leverage",
        "taker fee",
        "maintenance margin",
        "protect limit",
    )
    return table(head, [_pair(pair.listing) for pair in PAPER_PAIRS])


def _pair(listing: PairListing) -> list[str]:
    return [
        f"`{listing.symbol}`",
        listing.category,
        plain(listing.price_step),
        plain(listing.size_step),
        f"{listing.min_leverage} to {listing.max_leverage}",
        f"{plain(listing.taker_fee_rate * 100)} %",
        f"{plain(listing.maintenance_margin_rate * 100)} %",
        f"{plain(listing.price_protect_limit * 100)} %",
    ]


BLOCKS: Mapping[str, Callable[[], str]] = {
    "settings": settings,
    "errors": errors,
    "order-moves": lambda: moves(ORDER_MOVES),
    "trade-moves": lambda: moves(TRADE_MOVES),
    "intent-moves": lambda: moves(INTENT_MOVES),
    "event-types": event_types,
    "pairs": pairs,
    **EXAMPLES,
}
