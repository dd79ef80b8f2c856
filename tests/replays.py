"""What a replay must do, worked out from the recorded files alone: the rows in order, and how each trade ends."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.oracles import Fired, oracle_run

FILES = {
    "BTCUSDT": "btcusdt_spot_2024-08-09_quotes.csv",
    "EURUSD": "eurusd_2014-05-13_quotes_1s.csv",
    "XAUUSD": "xauusd_2014-05-13_quotes_1s.csv",
}


class PlayedRow(NamedTuple):
    """One row of a replay; `number` counts the rows of all files, merged, from 1."""

    number: int
    symbol: str
    bid: Decimal
    ask: Decimal

    @property
    def mark(self) -> Decimal:
        return (self.bid + self.ask) / 2


def replay_setting(folder: Path, symbols: Sequence[str] = tuple(FILES)) -> list[str]:
    """The entries of PAPER_REPLAY for the symbols' recorded files."""
    return [f"{symbol}={folder / FILES[symbol]}" for symbol in symbols]


@cache
def played_rows(folder: Path, symbols: Sequence[str] = tuple(FILES)) -> list[PlayedRow]:
    """The rows of the symbols' recorded files in the order they are due."""
    return read_rows({symbol: folder / FILES[symbol] for symbol in symbols})


def read_rows(files: Mapping[str, Path]) -> list[PlayedRow]:
    """The rows of files, by symbol, in the order they are due, ties by the order of the files."""
    due: list[tuple[int, int, int, str, Decimal, Decimal]] = []
    for place, (symbol, path) in enumerate(files.items()):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        first = int(rows[0]["ts_ms"])
        due += [
            (int(row["ts_ms"]) - first, place, line, symbol, Decimal(row["bid"]), Decimal(row["ask"]))
            for line, row in enumerate(rows)
        ]
    due.sort(key=lambda row: row[:3])
    return [PlayedRow(number, *row[3:]) for number, row in enumerate(due, start=1)]


def marks_of(rows: Iterable[PlayedRow], symbol: str, base: int) -> list[tuple[int, Decimal]]:
    """(sequence, mark) of one symbol's rows that are no crossed quotes."""
    return [(base + row.number, row.mark) for row in rows if row.symbol == symbol and row.bid <= row.ask]


@dataclass(frozen=True)
class Exit:
    """An exit's row, as the oracle reads it."""

    order_id: int
    side: str
    armed_sequence: int
    armed_price: Decimal
    stop_price: Decimal | None
    take_profit_price: Decimal | None
    trailing_distance: Decimal | None
    trailing_percentage: Decimal | None
    activation_price: Decimal | None = None


def exit_of(row: Mapping[str, Any]) -> Exit:
    """Read an exit from its database row."""
    trails = row["trailing_stop_distance"] is not None or row["trailing_stop_percentage"] is not None
    return Exit(
        order_id=row["id"],
        side="long" if row["side"] == "sell" else "short",
        armed_sequence=row["armed_sequence"],
        armed_price=row["armed_price"],
        stop_price=None if trails else row["oco_stop_price"] or row["stop_price"],
        take_profit_price=row["oco_take_profit_price"] or row["take_profit_price"],
        trailing_distance=row["trailing_stop_distance"],
        trailing_percentage=row["trailing_stop_percentage"],
    )


@dataclass(frozen=True)
class Expected:
    """How a trade must end: by the exit named, by liquidation at a tick, or not at all."""

    order_id: int | None
    fired: Fired | None
    liquidated_at: int | None


def expected_end(position: Mapping[str, Any], exits: Sequence[Exit], ticks: Sequence[tuple[int, Decimal]]) -> Expected:
    """The end of a trade by an independent reading: the first exit to fire, unless liquidation is not later."""
    fired = oracle_run(exits, ticks)
    first = min(fired, key=lambda order_id: (fired[order_id].sequence, order_id), default=None)
    liquidated_at = _liquidation(position, ticks)
    if first is not None and (liquidated_at is None or fired[first].sequence < liquidated_at):
        return Expected(first, fired[first], liquidated_at)
    return Expected(None, None, liquidated_at)


def _liquidation(position: Mapping[str, Any], ticks: Sequence[tuple[int, Decimal]]) -> int | None:
    level, is_long = position["liquidation_price"], position["side"] == "long"
    for sequence, mark in ticks:
        if sequence > position["armed_sequence"] and (mark <= level if is_long else mark >= level):
            return sequence
    return None
