"""Recorded market data: CSV files checked and read whole, their rows merged by the time they are due."""

import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from app.domain.assets import SymbolTable
from app.services.providers.paper.catalogue import CATALOGUE

# Between the last row of a recording and its first one again, when it starts over.
PAUSE_MS = 1000
DEFAULT_BAR_MS = 60_000
_TIME = re.compile(r"[0-9]{1,14}")
_PRICE = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")
_SHOWN = 40


class ReplayFileError(ValueError):
    """Recorded data that cannot be played: names the file, the line where there is one, and what is wrong."""

    def __init__(self, file: str | Path, line: int | None, reason: str) -> None:
        self.file, self.line, self.reason = str(file), line, reason
        super().__init__(f"{file}, line {line}: {reason}" if line else f"{file}: {reason}")


class Row(NamedTuple):
    """One tick of a recording: when it is due after the recording's start, and which of its symbols it prices."""

    due_ms: int
    symbol: int
    bid: Decimal
    ask: Decimal
    last: Decimal | None


class Sample(NamedTuple):
    """One tick as a file tells it."""

    ts_ms: int
    bid: Decimal
    ask: Decimal
    last: Decimal | None


@dataclass(frozen=True, slots=True)
class Recording:
    """Files to be played together; `rows` ascend by due time, ties in the order of `symbols`.

    It starts over `period_ms` after its start. `digest` names symbols and contents.
    """

    symbols: tuple[str, ...]
    rows: Sequence[Row]
    period_ms: int
    digest: str


def read_recording(entries: Sequence[str]) -> Recording:
    """Read files named as SYMBOL=path; ReplayFileError for the first thing that is wrong with any of them."""
    table = SymbolTable({pair.listing.symbol: pair.listing for pair in CATALOGUE})
    rows: list[Row] = []
    symbols: list[str] = []
    digest = hashlib.sha256()
    for entry in entries:
        name, equals, path = (part.strip() for part in entry.partition("="))
        if not (name and equals and path):
            raise ReplayFileError(entry, None, "write SYMBOL=file.csv")
        found = table.find(name)
        if len(found) != 1:
            near = ", ".join(table.near(name)) or ", ".join(pair.listing.symbol for pair in CATALOGUE)
            raise ReplayFileError(path, None, f"no pair is called {_shown(name)}; known are {near}")
        symbol = found[0]
        if symbol in symbols:
            raise ReplayFileError(path, None, f"{symbol} has a file already")
        content = _content(path)
        samples = read_samples(path, content)
        start = samples[0].ts_ms
        rows += [Row(ts_ms - start, len(symbols), bid, ask, last) for ts_ms, bid, ask, last in samples]
        symbols.append(symbol)
        digest.update(f"{symbol} {hashlib.sha256(content).hexdigest()}\n".encode())
    rows.sort(key=lambda row: row.due_ms)
    return Recording(tuple(symbols), rows, rows[-1].due_ms + PAUSE_MS, digest.hexdigest())


def _content(path: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise ReplayFileError(path, None, error.strerror or "cannot be read") from error


def read_samples(path: str, content: bytes) -> list[Sample]:
    """The ticks of one file, in its order; a bar is four of them.

    The header decides the format: ts_ms,bid,ask; or ts_ms,price; or ts_ms,open,high,low,close; or ts_ms,bid_open to
    ask_close; other columns are not looked at. Crossed quotes are kept, since they count as rows: the price service
    drops them.
    """
    reader = _Lines(path, content)
    columns = reader.header()
    for needed, read in _FORMATS.items():
        if columns.keys() >= set(needed):
            samples = read(reader, columns)
            if not samples:
                raise ReplayFileError(path, None, "has a header and no rows")
            return samples
    raise ReplayFileError(path, 1, "the header lacks columns; ts_ms,bid,ask are the least")


class _Lines:
    """The rows of a CSV text, each with as many fields as the header, and errors that know where they happened."""

    def __init__(self, path: str, content: bytes) -> None:
        self._path = path
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ReplayFileError(path, content.count(b"\n", 0, error.start) + 1, "is not UTF-8 text") from error
        self._reader = csv.reader(io.StringIO(text), strict=True)
        self._width = 0

    def error(self, reason: str) -> ReplayFileError:
        """An error about the line that was read last."""
        return ReplayFileError(self._path, self._reader.line_num, reason)

    def header(self) -> dict[str, int]:
        """Where each column stands."""
        names = [name.strip().lower() for name in self._next() or ()]
        if not names:
            raise ReplayFileError(self._path, None, "is empty")
        if len(set(names)) < len(names):
            raise self.error("the header names a column twice")
        self._width = len(names)
        return {name: index for index, name in enumerate(names)}

    def __iter__(self) -> Iterator[list[str]]:
        while (fields := self._next()) is not None:
            if len(fields) != self._width:
                raise self.error(f"{len(fields)} fields where the header has {self._width}")
            yield fields

    def _next(self) -> list[str] | None:
        try:
            return next(self._reader, None)
        except csv.Error as error:
            raise self.error(str(error)) from error

    def time(self, text: str) -> int:
        """A time in milliseconds."""
        if _TIME.fullmatch(text) is None:
            raise self.error(f"ts_ms is {_shown(text)}, not a whole number of milliseconds")
        return int(text)

    def prices(self, fields: Sequence[str], names: Sequence[str], columns: Mapping[str, int]) -> list[Decimal]:
        """The prices in the columns named: positive, in plain digits."""
        prices = []
        for name in names:
            text = fields[columns[name]]
            if _PRICE.fullmatch(text) is None or not (price := Decimal(text)):
                raise self.error(f"{name} is {_shown(text)}, not a positive price in plain digits")
            prices.append(price)
        return prices


def _shown(text: str) -> str:
    return repr(text[:_SHOWN])


type _Columns = Mapping[str, int]

_BAR = ("open", "high", "low", "close")
_BID_BAR = tuple(f"bid_{name}" for name in _BAR)
_ASK_BAR = tuple(f"ask_{name}" for name in _BAR)


def _quotes(lines: _Lines, columns: _Columns) -> list[Sample]:
    samples = []
    for ts_ms, fields in _timed(lines, columns):
        bid, ask = lines.prices(fields, ("bid", "ask"), columns)
        samples.append(Sample(ts_ms, bid, ask, None))
    return samples


def _trades(lines: _Lines, columns: _Columns) -> list[Sample]:
    samples = []
    for ts_ms, fields in _timed(lines, columns):
        (price,) = lines.prices(fields, ("price",), columns)
        samples.append(Sample(ts_ms, price, price, price))
    return samples


def _trade_bars(lines: _Lines, columns: _Columns) -> list[Sample]:
    bars = []
    for ts_ms, fields in _timed(lines, columns, ties=False):
        prices = _bar_prices(lines, fields, _BAR, columns)
        bars.append((ts_ms, [(price, price, price) for price in prices]))
    return list(_spread(bars))


def _quote_bars(lines: _Lines, columns: _Columns) -> list[Sample]:
    bars = []
    for ts_ms, fields in _timed(lines, columns, ties=False):
        bids = _bar_prices(lines, fields, _BID_BAR, columns)
        asks = _bar_prices(lines, fields, _ASK_BAR, columns)
        bars.append((ts_ms, [(bid, ask, None) for bid, ask in zip(bids, asks, strict=True)]))
    return list(_spread(bars))


def _timed(lines: _Lines, columns: _Columns, *, ties: bool = True) -> Iterator[tuple[int, list[str]]]:
    """Rows with their time, which never goes back; without `ties` it also never stands still."""
    before = -1
    for fields in lines:
        ts_ms = lines.time(fields[columns["ts_ms"]])
        if ts_ms < before or (ts_ms == before and not ties):
            raise lines.error(f"ts_ms {ts_ms} comes after {before}")
        before = ts_ms
        yield ts_ms, fields


def _bar_prices(lines: _Lines, fields: Sequence[str], names: Sequence[str], columns: _Columns) -> list[Decimal]:
    prices = lines.prices(fields, names, columns)
    _, high, low, _ = prices
    if high != max(prices) or low != min(prices):
        raise lines.error(f"{names[0]} or {names[3]} lies outside {names[2]} to {names[1]}")
    return prices


def _spread(
    bars: Sequence[tuple[int, Sequence[tuple[Decimal, Decimal, Decimal | None]]]],
) -> Iterator[Sample]:
    """Four ticks a bar, at its start and after each quarter of the shortest time between two bars."""
    times = [ts_ms for ts_ms, _ in bars]
    length = min((later - earlier for earlier, later in pairwise(times)), default=DEFAULT_BAR_MS)
    for ts_ms, ticks in bars:
        for quarter, tick in enumerate(ticks):
            yield Sample(ts_ms + quarter * length // 4, *tick)


_FORMATS: dict[tuple[str, ...], Callable[[_Lines, _Columns], list[Sample]]] = {
    ("ts_ms", "bid", "ask"): _quotes,
    ("ts_ms", *_BID_BAR, *_ASK_BAR): _quote_bars,
    ("ts_ms", *_BAR): _trade_bars,
    ("ts_ms", "price"): _trades,
}
