"""Tables for people."""

from decimal import Decimal
from typing import Any

import pytest
from rich.text import Text

from app.cli.tables import (
    EVENTS,
    POSITIONS,
    TRADES,
    Column,
    bar_text,
    event_phrase,
    gain,
    gain_text,
    levels_text,
    money_text,
    number_text,
    order_status,
    rounded,
    show,
    status_text,
    text,
)

NO_LEVELS: dict[str, Any] = {"trigger_by": "mark", "price_protect": False} | dict.fromkeys(
    [
        "activation_price",
        "activated_sequence",
        "price",
        "stop_price",
        "take_profit_price",
        "trailing_stop_distance",
        "trailing_stop_percentage",
        "oco_stop_price",
        "oco_take_profit_price",
    ]
)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (0, "0"),
        (1234567, "1,234,567"),
        (Decimal("1234.50"), "1,234.50"),
        (Decimal("1E-7"), "0.0000001"),
        (Decimal("1E+3"), "1,000"),
    ],
)
def test_numbers(value: Decimal | int | None, shown: str) -> None:
    assert number_text(value) == shown


@pytest.mark.parametrize(
    ("value", "shown", "style"), [(Decimal("1.5"), "+1.5 %", "green"), (-2, "-2 %", "red"), (Decimal("0.0"), "0 %", "")]
)
def test_results(value: Decimal | int, shown: str, style: str) -> None:
    assert gain_text(value, " %") == Text(shown, style=style)


def test_computed_numbers_are_cut_to_what_one_reads() -> None:
    assert rounded(Decimal("59106.595368509542761818")) == Decimal("59106.595")
    assert rounded(Decimal("0.000012345678912")) == Decimal("0.000012345679")
    assert rounded(Decimal("12345678901.5")) == Decimal("12345678902")
    assert rounded(None) is None


def test_a_result_is_shown_to_the_smallest_unit_of_its_money() -> None:
    cell = gain("pnl")
    assert cell({"pnl": Decimal("4.536444189")}) == Text("+4.536444", style="green")
    assert cell({"pnl": Decimal("10.000000")}) == Text("+10", style="green")
    assert cell({"pnl": None}) == "-"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "          │"),
        (50, "          │██████████"),
        (-25, "     █████│"),
        (-1, "         █│"),
    ],
)
def test_a_result_as_a_bar(value: int, shown: str) -> None:
    assert bar_text(value, 50).plain == shown


def test_tables_of_long_numbers_fit_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    price, moment = Decimal("60203.89650050766329836"), "2026-11-24T08:10:13.000000Z"
    row = {
        **NO_LEVELS,
        **dict.fromkeys(("entry_price", "exit_price", "current_price", "liquidation_price"), price),
        **{name: Decimal("0.165927") for name in ("size", "quantity", "filled_quantity")},
        **{name: Decimal("-104.536444189") for name in ("pnl", "unrealized_pnl", "roi", "funding", "fees")},
        **dict.fromkeys(("id", "trade_id", "pair_id", "trade_index", "leverage", "collateral", "margin"), 1234),
        **{"asset": "BTC", "pair": "BTCUSDT", "direction": True, "side": "long", "exit_order_ids": [1234]},
        **{"status": "liquidated", "close_reason": "liquidation", "created_at": moment},
    }
    for columns in (TRADES, POSITIONS):
        show(columns, [row], "")
        shown = capsys.readouterr().out.splitlines()
        assert sum("1234" in line for line in shown) == 1
        assert any("60,203.897" in line for line in shown)
        assert shown[3].startswith("Not shown for lack of room: ")


def test_a_narrow_terminal_shows_how_near_a_position_is_to_its_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    price = Decimal("60203.89650050766329836")
    row = {
        **dict.fromkeys(("entry_price", "current_price", "liquidation_price"), price),
        **dict.fromkeys(("trade_id", "pair_id", "trade_index", "margin", "roi", "funding"), 1),
        **{"pair": "BTCUSDT", "side": "short", "leverage": 50, "size": Decimal("0.165927"), "exit_order_ids": [2, 3]},
        "unrealized_pnl": Decimal("-104.536444"),
    }
    show(POSITIONS, [row], "")
    heading, _rule, cells, *_left_out = capsys.readouterr().out.splitlines()
    assert "Liquidation" in heading
    assert "short 50x" in cells
    assert cells.count("60,203.897") == 3
    assert "#2, #3" in cells
    monkeypatch.setenv("COLUMNS", "200")
    show(POSITIONS, [{**row, "liquidation_price": 0, "exit_order_ids": []}], "")
    _, heading, _rule, cells, *_ = capsys.readouterr().out.splitlines()
    assert "0.165927" in cells
    assert dict(zip(heading.split(), cells.replace("short 50x", "short").split(), strict=False))["Exits"] == "none"
    assert cells.count("60,203.897") == 2


def test_a_closed_trade_shows_what_closed_it_before_its_size(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    price = Decimal("60203.89650050766329836")
    row = {
        **dict.fromkeys(("id", "pair_id", "trade_index", "leverage", "collateral", "fees", "funding"), 1),
        **{"pair": "USDJPY", "direction": True, "size": 0, "entry_price": price, "exit_price": price},
        **{"pnl": Decimal("-104.536444"), "status": "closed", "close_reason": "trailing"},
        "created_at": "2026-11-24T08:10:13.000000Z",
    }
    monkeypatch.setenv("COLUMNS", "74")
    show(TRADES, [row], "")
    heading, _rule, cells, *_left_out = capsys.readouterr().out.splitlines()
    assert "Index" in heading
    assert "Size" not in heading
    assert "trailing" in cells
    monkeypatch.setenv("COLUMNS", "200")
    show(TRADES, [row], "")
    assert "long      -" in capsys.readouterr().out
    filled = {"role": "entry", "filled_quantity": Decimal("0.165927")}
    orders = [filled, {"role": "close", "filled_quantity": Decimal("0.165927")}]
    show(TRADES, [{**row, "orders": orders}], "")
    assert " 0.165927 " in capsys.readouterr().out


def test_a_narrow_terminal_shows_when_an_event_happened(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    data = {"trade_id": 12, "order_id": 345, "order_type": "TRAILING_STOP", "status": "triggered", "size": 1}
    row = {"sequence": 1234, "created_at": "2026-11-24T08:10:13.000000Z", "type": "order.triggered", "data": data}
    show(EVENTS, [row], "")
    assert "2026-11-24 08:10:13" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (Decimal("123456.7890123"), "123,456.789012 USDC"),
        (Decimal("1200.000000"), "1,200 USDC"),
        (0, "0 USDC"),
    ],
)
def test_money(amount: Decimal | int, shown: str) -> None:
    assert money_text(amount) == shown


@pytest.mark.parametrize(
    ("levels", "phrase"),
    [
        ({}, "-"),
        ({"price": Decimal(60000)}, "limit 60,000"),
        ({"stop_price": 5}, "stop 5"),
        ({"trailing_stop_distance": 500, "stop_price": Decimal("59500")}, "trails by 500, now at 59,500"),
        ({"trailing_stop_percentage": Decimal("0.5")}, "trails by 0.5 %"),
        ({"oco_stop_price": 1, "oco_take_profit_price": 2}, "1 / 2"),
        ({"trailing_stop_distance": 250, "activation_price": 60500}, "trails by 250, from 60,500 on"),
        (
            {
                "trailing_stop_distance": 250,
                "activation_price": 60500,
                "activated_sequence": 7,
                "stop_price": Decimal("60262.3"),
            },
            "trails by 250, began at 60,500, now at 60,262.3",
        ),
        ({"stop_price": 5, "trigger_by": "exit", "price_protect": True}, "stop 5, by exit, protected"),
    ],
)
def test_levels(levels: dict[str, Any], phrase: str) -> None:
    assert levels_text({**NO_LEVELS, **levels}) == phrase


def test_an_exit_that_is_held_says_since_when() -> None:
    held = {"status": "pending", "held_since": "2026-11-24T08:10:13.000000Z"}
    assert order_status(held).plain == "pending, held since 2026-11-24 08:10:13"
    assert order_status(held | {"held_since": None}).plain == "pending"


def test_a_text_of_the_server_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    show([Column("A", text("a"))], [{"a": "[red]x[/red]"}], "")
    assert "[red]x[/red]" in capsys.readouterr().out


def test_no_rows(capsys: pytest.CaptureFixture[str]) -> None:
    show(POSITIONS, [], "No open positions.")
    assert capsys.readouterr().out == "No open positions.\n"


def test_minor_columns_make_room(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [Column("First", text("a")), Column("Second", text("a"), is_minor=True), Column("Third", text("a"))]
    rows = [{"a": "0123456789"}]
    monkeypatch.setenv("COLUMNS", "30")
    show(columns, rows, "")
    shown = capsys.readouterr().out
    assert shown.count("Second") == 1
    assert "Not shown for lack" in shown
    monkeypatch.setenv("COLUMNS", "60")
    show(columns, rows, "")
    assert "Second" in capsys.readouterr().out


def test_a_rare_column_is_there_where_a_row_has_something_in_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rare = Column("Expires", text("a"), is_rare=True)
    show([Column("B", text("b")), rare], [{"a": None, "b": 1}], "")
    assert "Expires" not in capsys.readouterr().out
    show([Column("B", text("b")), rare], [{"a": None, "b": 1}, {"a": "soon", "b": 2}], "")
    assert "soon" in capsys.readouterr().out


def test_what_weighs_more_is_left_out_later(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    minor = [Column(name, text("a"), is_minor=True, weight=weight) for name, weight in (("A", 0), ("B", 1), ("C", 0))]
    monkeypatch.setenv("COLUMNS", "23")
    show([Column("Always", text("a")), *minor], [{"a": "0123456789"}], "")
    shown = capsys.readouterr().out
    assert shown.splitlines()[0].split() == ["Always", "B"]
    assert "A, C." in " ".join(shown.split())


def test_events_in_short() -> None:
    data = {"trade_id": 4, "order_id": None, "asset": "BTC", "direction": "long", "pnl": Decimal("-1.5"), "other": 1}
    assert event_phrase(data) == "trade 4 asset=BTC direction=long pnl=-1.5"


def test_a_status_that_asks_to_be_looked_at_stands_out() -> None:
    assert status_text("unknown").style == "bold red"
    assert status_text("cancelled").style == "dim"
