"""The board of watched prices, and the sample recording."""

from decimal import Decimal
from typing import Any

from typer.testing import CliRunner

from app.cli.console import screen
from app.cli.main import app
from app.cli.price_watch import _LIVE, PriceBoard


def price(pair: str, value: str, **facts: Any) -> dict[str, Any]:
    level = Decimal(value)
    open_market = {"source": "paper", "stale": False, "market_open": True}
    return {"pair": pair, "price": level, "bid": level, "ask": level, **open_market, **facts}


def shown(board: PriceBoard, now: float) -> str:
    console = screen()
    with console.capture() as capture:
        console.print(board.table(now, _LIVE))
    return capture.get()


def test_a_board_keeps_the_last_price_of_each_pair_and_how_far_it_went() -> None:
    board = PriceBoard()
    board.take(price("BTCUSDT", "100"), 0.0)
    board.take(price("ETHUSDT", "10"), 0.0)
    board.take(price("BTCUSDT", "101.5"), 1.0)
    lines = shown(board, 1.0).splitlines()
    bitcoin = next(line for line in lines if "BTCUSDT" in line)
    assert "101.5" in bitcoin
    assert "+1.500 %" in bitcoin
    assert board.shown["BTCUSDT"].style == "green"
    board.take(price("BTCUSDT", "99"), 2.0)
    board.take(price("BTCUSDT", "99"), 2.5)
    assert board.shown["BTCUSDT"].style == "red"
    assert board.shown["ETHUSDT"].style == ""


def test_what_a_price_is_worth_is_said() -> None:
    board = PriceBoard()
    board.take(price("A", "1"), -0.5)
    board.take(price("B", "1", stale=True), 0.0)
    board.take(price("C", "1", market_open=False), 0.0)
    states = {words[0]: words[-1] for words in map(str.split, shown(board, 1.0).splitlines()) if len(words) > 3}
    assert (states["A"], states["B"], states["C"]) == ("live", "stale", "closed")
    assert "1.5 s" in shown(board, 1.0)
    assert "quiet" in shown(board, 20.0)


def test_a_price_is_as_old_as_the_server_says_however_long_the_others_were_waited_for() -> None:
    board = PriceBoard()
    closed = price("EURUSD", "1.08", market_open=False, received_at="2026-11-28T08:00:00.500Z")
    board.take_frame({"timestamp": "2026-11-28T08:00:30.500Z", "data": closed}, 100.0)
    assert "30.0 s" in shown(board, 100.0)
    assert "35.0 s" in shown(board, 105.0)
    board.take_frame({"timestamp": closed["received_at"], "data": closed}, 106.0)
    assert "0.2 s" in shown(board, 106.2)


def test_the_sample_is_a_recording() -> None:
    lines = CliRunner().invoke(app, ["prices", "sample"]).stdout.splitlines()
    assert lines[0] == "ts_ms,bid,ask"
    assert len(lines) == 1201
    assert all(len(line.split(",")) == 3 for line in lines)
