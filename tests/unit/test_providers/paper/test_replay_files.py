"""Recorded files: formats by their header, and every way in which one can be wrong."""

import csv
from decimal import Decimal
from pathlib import Path

import pytest

from app.services.providers.paper.replay_files import (
    PAUSE_MS,
    ReplayFileError,
    Row,
    Sample,
    read_recording,
    read_samples,
)
from app.services.providers.paper.sample import write_sample

QUOTES = "ts_ms,bid,bid_size,ask,ask_size\n1000,10.00,1,10.01,2\n1000,10.01,1,10.01,2\n2500,10.02,0,10.01,0\n"
TRADES = "ts_ms,trade_id,price,qty,taker_side\n5,1,7.5,0.1,sell\n5,2,7.25,0.2,buy\n"
TRADE_BARS = "ts_ms,open,high,low,close,volume\n0,10,12,9,11,5\n60000,11,11,11,11,0\n"
QUOTE_BARS = (
    "ts_ms,bid_open,bid_high,bid_low,bid_close,bid_size,ask_open,ask_high,ask_low,ask_close,ask_size\n"
    "0,10,12,9,11,0,11,13,10,12,0\n"
)

D = Decimal


def samples(text: str) -> list[Sample]:
    return read_samples("file.csv", text.encode())


def test_quotes_keep_their_order_ties_and_crossed_rows() -> None:
    assert samples(QUOTES) == [
        (1000, D("10.00"), D("10.01"), None),
        (1000, D("10.01"), D("10.01"), None),
        (2500, D("10.02"), D("10.01"), None),
    ]


def test_the_least_is_time_bid_and_ask_in_any_order_and_case() -> None:
    assert samples("ASK, Bid ,ts_ms,note\n2,1,7,x\n") == [(7, D(1), D(2), None)]


def test_a_trade_is_bid_ask_and_last_at_once() -> None:
    assert samples(TRADES) == [(5, D("7.5"), D("7.5"), D("7.5")), (5, D("7.25"), D("7.25"), D("7.25"))]


def test_a_trade_bar_is_four_ticks_within_its_time() -> None:
    found = samples(TRADE_BARS)
    assert [(sample.ts_ms, sample.last) for sample in found[:4]] == [
        (0, D(10)),
        (15000, D(12)),
        (30000, D(9)),
        (45000, D(11)),
    ]
    assert all(sample.bid == sample.ask == sample.last for sample in found)
    assert [sample.ts_ms for sample in found[4:]] == [60000, 75000, 90000, 105000]


def test_a_quote_bar_is_four_quotes() -> None:
    assert samples(QUOTE_BARS) == [
        (0, D(10), D(11), None),
        (15000, D(12), D(13), None),
        (30000, D(9), D(10), None),
        (45000, D(11), D(12), None),
    ]


def test_a_byte_order_mark_and_windows_lines_are_read() -> None:
    assert read_samples("f", b"\xef\xbb\xbfts_ms,bid,ask\r\n1,2,3\r\n") == [(1, D(2), D(3), None)]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", None, "is empty"),
        ("ts_ms,bid,ask\n", None, "has a header and no rows"),
        ("ts_ms,bid\n1,2\n", 1, "the header lacks columns; ts_ms,bid,ask are the least"),
        ("1,2,3\n", 1, "the header lacks columns"),
        ("ts_ms,bid,bid,ask\n1,2,2,3\n", 1, "the header names a column twice"),
        ("ts_ms,bid,ask\n1,2,3\n2,2\n", 3, "2 fields where the header has 3"),
        ("ts_ms,bid,ask\n1,2,3,4\n", 2, "4 fields where the header has 3"),
        ("ts_ms,bid,ask\n1,2,3\n\n3,2,3\n", 3, "0 fields where the header has 3"),
        ("ts_ms,bid,ask\n5,2,3\n4,2,3\n", 3, "ts_ms 4 comes after 5"),
        ("ts_ms,bid,ask\n1.5,2,3\n", 2, "ts_ms is '1.5', not a whole number"),
        ("ts_ms,bid,ask\n-1,2,3\n", 2, "ts_ms is '-1', not a whole number"),
        ("ts_ms,bid,ask\n2024-08-09,2,3\n", 2, "ts_ms is '2024-08-09', not a whole number"),
        ("ts_ms,bid,ask\n999999999999999999,2,3\n", 2, "ts_ms is '999999999999999999', not a whole number"),
        ("ts_ms,bid,ask\n1,NaN,3\n", 2, "bid is 'NaN', not a positive price"),
        ("ts_ms,bid,ask\n1,2,Infinity\n", 2, "ask is 'Infinity', not a positive price"),
        ("ts_ms,bid,ask\n1,-2,3\n", 2, "bid is '-2', not a positive price"),
        ("ts_ms,bid,ask\n1,0.00,3\n", 2, "bid is '0.00', not a positive price"),
        ("ts_ms,bid,ask\n1,2,\n", 2, "ask is '', not a positive price"),
        ("ts_ms,bid,ask\n1,2,1e400\n", 2, "ask is '1e400', not a positive price"),
        ("ts_ms,bid,ask\n1,2,1_000\n", 2, "ask is '1_000', not a positive price"),
        ("ts_ms,bid,ask\n1,2,0.1234567890123\n", 2, "ask is '0.1234567890123', not a positive price"),
        ('ts_ms,bid,ask\n1,2,"3\n', 2, "unexpected end of data"),
        ("ts_ms,bid,ask\n1,2,caf\u00e9\n", 2, "ask is 'caf\u00e9', not a positive price"),
        (TRADE_BARS.replace("60000,", "0,"), 3, "ts_ms 0 comes after 0"),
        ("ts_ms,open,high,low,close\n0,10,12,9,13\n", 2, "open or close lies outside low to high"),
        ("ts_ms,open,high,low,close\n0,10,9,12,10\n", 2, "open or close lies outside low to high"),
        (QUOTE_BARS.replace("11,13,10,12", "11,13,12,12"), 2, "ask_open or ask_close lies outside ask_low to ask_high"),
    ],
)
def test_a_bad_file_is_named_with_line_and_reason(text: str, line: int | None, reason: str) -> None:
    with pytest.raises(ReplayFileError) as caught:
        samples(text)
    assert (caught.value.file, caught.value.line) == ("file.csv", line)
    assert caught.value.reason.startswith(reason)
    assert str(caught.value).startswith(f"file.csv, line {line}: " if line else "file.csv: ")


def test_bytes_that_are_not_text_are_named_with_their_line() -> None:
    with pytest.raises(ReplayFileError, match="f, line 2: is not UTF-8 text"):
        read_samples("f", b"ts_ms,bid,ask\n1,2,\xff\n")


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_files_start_together_and_merge_by_due_time_ties_in_the_order_of_the_setting(tmp_path: Path) -> None:
    first = write(tmp_path, "a.csv", "ts_ms,bid,ask\n1000,1,2\n1500,3,4\n")
    second = write(tmp_path, "b.csv", "ts_ms,bid,ask\n77,5,6\n177,7,8\n577,9,10\n")
    recording = read_recording([f"EUR-USD={first}", f"btc = {second}"])
    assert recording.symbols == ("EURUSD", "BTCUSDT")
    assert recording.rows == [
        Row(0, 0, D(1), D(2), None),
        Row(0, 1, D(5), D(6), None),
        Row(100, 1, D(7), D(8), None),
        Row(500, 0, D(3), D(4), None),
        Row(500, 1, D(9), D(10), None),
    ]
    assert recording.period_ms == 500 + PAUSE_MS


def test_the_digest_names_symbols_and_contents_and_not_where_files_lie(tmp_path: Path) -> None:
    text = "ts_ms,bid,ask\n1,2,3\n"
    here, there = write(tmp_path, "a.csv", text), write(tmp_path, "b.csv", text)
    other = write(tmp_path, "c.csv", text + "2,2,3\n")
    digests = [read_recording([f"{entry}"]).digest for entry in (f"BTC={here}", f"BTCUSDT={there}")]
    assert digests[0] == digests[1]
    assert len({digests[0], read_recording([f"ETH={here}"]).digest, read_recording([f"BTC={other}"]).digest}) == 3


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("BTCUSDT", "BTCUSDT: write SYMBOL=file.csv"),
        ("=x.csv", "=x.csv: write SYMBOL=file.csv"),
        ("BTCUSD_=missing.csv", "missing.csv: No such file or directory"),
        ("BTCUSTD=x.csv", "x.csv: no pair is called 'BTCUSTD'; known are BTCUSDT"),
        ("QQQQ=x.csv", "x.csv: no pair is called 'QQQQ'; known are BTCUSDT, ETHUSDT"),
    ],
)
def test_a_setting_that_cannot_be_followed_is_told(entry: str, told: str) -> None:
    with pytest.raises(ReplayFileError) as caught:
        read_recording([entry])
    assert str(caught.value).startswith(told)


def test_a_symbol_has_one_file(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "ts_ms,bid,ask\n1,2,3\n")
    with pytest.raises(ReplayFileError, match="BTCUSDT has a file already"):
        read_recording([f"BTC={path}", f"BTCUSDT={path}"])


RECORDED = {
    "btcusd_coinbase_2017-12-17_1m_trades.csv": ("BTC", 4, {"open", "high", "low", "close"}),
    "btcusd_dydx_perp_2026-01-01_1m_quotes.csv": ("BTC", 4, {"bid_open", "ask_close"}),
    "btcusdt_spot_2024-08-09_quotes.csv": ("BTC", 1, {"bid", "ask"}),
    "btcusdt_spot_2024-08-09_trades.csv": ("BTC", 1, {"price"}),
    "de30eur_2019-02-21_1m_quotes.csv": ("DE30", 4, {"bid_open", "ask_close"}),
    "ethusd_coinbase_2017-09-04_1m_trades.csv": ("ETH", 4, {"open", "high", "low", "close"}),
    "ethusdt_spot_2024-08-09_quotes.csv": ("ETH", 1, {"bid", "ask"}),
    "ethusdt_spot_2024-08-09_trades.csv": ("ETH", 1, {"price"}),
    "eurusd_2014-05-13_quotes_1s.csv": ("EURUSD", 1, {"bid", "ask"}),
    "spx_2023-06-30_1m_trades.csv": ("SPX", 4, {"open", "high", "low", "close"}),
    "xauusd_2014-05-13_quotes_1s.csv": ("XAU", 1, {"bid", "ask"}),
}


@pytest.mark.recorded
@pytest.mark.parametrize("name", RECORDED)
def test_every_recorded_file_is_read_whole(recorded_data: Path, name: str) -> None:
    symbol, ticks_a_row, columns = RECORDED[name]
    with (recorded_data / name).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert columns <= rows[0].keys()
    recording = read_recording([f"{symbol}={recorded_data / name}"])
    assert len(recording.rows) == len(rows) * ticks_a_row
    assert [row.due_ms for row in recording.rows[::ticks_a_row]] == [
        int(row["ts_ms"]) - int(rows[0]["ts_ms"]) for row in rows
    ]
    last = next(name for name in ("bid", "bid_close", "price", "close") if name in rows[0])
    assert [row.bid for row in recording.rows[ticks_a_row - 1 :: ticks_a_row]] == [Decimal(row[last]) for row in rows]


def test_the_sample_is_a_recording_that_stops_out_a_trailing_long_after_a_minute(tmp_path: Path) -> None:
    path = tmp_path / "sample.csv"
    with path.open("w") as out:
        write_sample(out)
    rows = read_recording([f"BTC={path}"]).rows
    assert [row.due_ms for row in rows] == list(range(0, 120_000, 100))
    watermark, fired = D(0), None
    for row in rows:
        mark = (row.bid + row.ask) / 2
        watermark = max(watermark, mark)
        if mark <= watermark * D("0.995"):
            fired = row.due_ms
            break
    assert watermark > D("1.009") * (rows[0].bid + rows[0].ask) / 2
    assert fired is not None
    assert 50_000 < fired < 75_000
