"""Opening trades over HTTP: every order type, previews, exact numbers."""

from decimal import Decimal
from typing import Any

import httpx2
import pytest

from tests.integration.api.trading.market import BTC, HandMarket, Trader

OPENED = {
    "transaction_hash",
    "pair_id",
    "trade_index",
    "status",
    "order_id",
    "trade_id",
    "exit_order_ids",
    "entry_price",
    "size",
    "fee",
}


async def test_a_market_order_is_answered_with_its_fill(trader: Trader, market: HandMarket) -> None:
    opened = await trader.open()

    assert set(opened) == OPENED
    assert opened["transaction_hash"].startswith("0x")
    assert len(opened["transaction_hash"]) == 66
    assert (opened["pair_id"], opened["trade_index"], opened["status"]) == (market.pair_id(), 0, "success")
    # A long buys at the ask: 100 USDC x 10 / 50000.50, floored to the step; the fee is 0.05 % of the notional.
    assert (opened["entry_price"], opened["size"]) == (50000.5, 0.019999)
    order = await trader.order(opened["order_id"])
    assert (order["role"], order["order_type"], order["side"], order["status"]) == (
        "entry",
        "MARKET",
        "buy",
        "filled",
    )
    trade = await trader.trade(opened)
    assert (trade["id"], trade["status"], trade["direction"]) == (opened["trade_id"], "open", True)
    assert (trade["asset"], trade["asset_type"], trade["provider"]) == ("BTC", 0, "paper")
    assert [order["id"] for order in trade["orders"]] == [opened["order_id"]]


async def test_a_short_sells_at_the_bid_and_indexes_count_up(trader: Trader) -> None:
    first, second = await trader.open(), await trader.open(direction=False)

    assert (first["trade_index"], second["trade_index"]) == (0, 1)
    assert second["entry_price"] == 49999.5
    assert (await trader.order(second["order_id"]))["side"] == "sell"


EXITS: list[tuple[dict[str, Any], list[str]]] = [
    ({"order_type": "STOP_LOSS", "stop_price": 48000}, ["STOP_LOSS"]),
    ({"order_type": "TAKE_PROFIT", "take_profit_price": 55000}, ["TAKE_PROFIT"]),
    ({"order_type": "TRAILING_STOP", "trailing_stop_distance": 500}, ["TRAILING_STOP"]),
    ({"order_type": "TRAILING_STOP", "trailing_stop_percentage": 2}, ["TRAILING_STOP"]),
    ({"order_type": "OCO", "oco_stop_price": 48000, "oco_take_profit_price": 55000}, ["OCO"]),
    ({"stop_price": 48000}, ["STOP_LOSS"]),
    ({"stop_price": 48000, "take_profit_price": 55000}, ["STOP_LOSS", "TAKE_PROFIT"]),
    (
        {"order_type": "STOP_LOSS", "stop_price": 48000, "trailing_stop_distance": 500, "take_profit_price": 55000},
        ["STOP_LOSS", "TAKE_PROFIT", "TRAILING_STOP"],
    ),
]


@pytest.mark.parametrize(("fields", "exits"), EXITS)
async def test_every_protective_field_attaches_its_exit(
    trader: Trader, fields: dict[str, Any], exits: list[str]
) -> None:
    opened = await trader.open(**fields)

    assert opened["status"] == "success"
    rows = [await trader.order(order_id) for order_id in opened["exit_order_ids"]]
    assert [row["order_type"] for row in rows] == exits
    for row in rows:
        assert (row["role"], row["side"], row["reduce_only"], row["status"]) == ("exit", "sell", True, "pending")
        assert (row["quantity"], row["trade_id"]) == (opened["size"], opened["trade_id"])
        assert (row["triggered_leg"], row["trigger_price"], row["triggered_at"]) == (None, None, None)
    given = {name: value for name, value in fields.items() if name != "order_type"}
    told = {name: row[name] for row in rows for name in given if row[name] is not None}
    if "trailing_stop_distance" in given or "trailing_stop_percentage" in given:
        # What a trailing stop shows as its stop is where it stands, not what was asked for.
        told.pop("stop_price", None)
        given.pop("stop_price", None)
    assert told == given


async def test_a_short_is_protected_the_other_way_round(trader: Trader) -> None:
    opened = await trader.open(direction=False, order_type="OCO", oco_stop_price=52000, oco_take_profit_price=45000)

    (exit_id,) = opened["exit_order_ids"]
    assert (await trader.order(exit_id))["side"] == "buy"


async def test_an_asset_may_be_a_base_or_any_spelling_of_a_symbol(trader: Trader, market: HandMarket) -> None:
    for asset in ("BTC", "BTCUSDT", "BTC-USD", "BTC/USD", "btcusd"):
        opened = await trader.open(asset=asset, asset_type=0)
        assert opened["pair_id"] == market.pair_id()
    forex = await trader.open(asset="EUR", asset_type=1)
    assert (await trader.trade(forex))["asset_type"] == 1


async def test_numbers_are_exact_and_may_be_asked_for_as_strings(trader: Trader) -> None:
    opened = await trader.open(collateral=Decimal("123.456789"), leverage=7)
    path = f"/trades/{opened['pair_id']}/{opened['trade_index']}"

    exact = await trader.send("GET", path)
    assert '"collateral":123.456789,' in exact.text
    assert '"entry_price":50000.5,' in exact.text
    as_text = (await trader.send("GET", path, Accept="application/json; numbers=string")).json()
    assert (as_text["collateral"], as_text["entry_price"], as_text["leverage"]) == ("123.456789", "50000.5", 7)
    answer = await trader.send("POST", "/trades", BTC, Accept="application/json; numbers=string")
    assert (answer.json()["entry_price"], answer.json()["size"]) == ("50000.5", "0.019999")


async def test_numbers_are_taken_as_strings(trader: Trader) -> None:
    opened = await trader.open(collateral="100.000001", order_type="STOP_LOSS", stop_price="48000.01")

    (exit_id,) = opened["exit_order_ids"]
    assert (await trader.order(exit_id))["stop_price"] == 48000.01
    assert (await trader.trade(opened))["collateral"] == 100.000001


async def test_max_slippage_is_measured_from_the_price_given(trader: Trader) -> None:
    opened = await trader.open(price=50000, max_slippage=Decimal("0.0001"))
    assert opened["entry_price"] == 50000.5


class TestPreview:
    async def test_it_tells_what_opening_would_do_and_does_nothing(self, trader: Trader, market: HandMarket) -> None:
        answer = await trader.send("POST", "/preview", BTC)

        assert answer.status_code == 200, answer.text
        seen = answer.json()
        assert (seen["pair_id"], seen["pair"], seen["provider"]) == (market.pair_id(), "BTCUSDT", "paper")
        assert (seen["side"], seen["entry_price"], seen["size"], seen["margin"]) == ("long", 50000.5, 0.019999, 100)
        assert (seen["free_balance"], seen["refusals"]) == (10_000, [])
        assert 45000 < seen["liquidation_price"] < 46000
        assert (await trader.read("/trades"))["trades"] == []
        opened = await trader.open()
        assert (opened["size"], opened["fee"]) == (seen["size"], seen["fee"])

    async def test_it_lists_every_refusal_that_opening_would_meet(self, trader: Trader) -> None:
        body = {**BTC, "collateral": 20_000, "order_type": "STOP_LOSS", "stop_price": 60_000}
        seen = (await trader.send("POST", "/preview", body)).json()

        assert [refusal["code"] for refusal in seen["refusals"]] == ["STOP_WRONG_SIDE", "INSUFFICIENT_BALANCE"]
        assert seen["refusals"][1]["details"]["free"] == 10_000

    async def test_a_price_that_limits_nothing_is_a_refusal(self, trader: Trader) -> None:
        (refused,) = (await trader.send("POST", "/preview", {**BTC, "price": 49_000})).json()["refusals"]

        assert (refused["code"], refused["details"]) == ("CONFLICTING_FIELDS", {"fields": ["price"]})
        assert "say order_type LIMIT, or max_slippage" in refused["message"]


async def test_an_answer_is_not_kept_by_anybody_on_the_way(trader: Trader, client: httpx2.AsyncClient) -> None:
    answer = await trader.ask_open()
    assert answer.headers["cache-control"] == "no-store"
