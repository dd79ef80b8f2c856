"""Exits over HTTP: attached, amended, cancelled, and what fires them."""

from typing import Any

import pytest

from tests.integration.api.trading.market import HandMarket, Trader, refusal


async def test_a_trailing_stop_follows_the_price_and_tells_what_fired_it(trader: Trader, market: HandMarket) -> None:
    opened = await trader.open(order_type="TRAILING_STOP", trailing_stop_distance=500)
    (exit_id,) = opened["exit_order_ids"]

    await market.quote(("50999.50", "51000.50"), ("50599.50", "50600.50"))
    assert (await trader.order(exit_id))["status"] == "pending"
    sequence = await market.quote(("50489.50", "50490.50"))

    order = await trader.until_order(exit_id, "filled")
    assert (order["watermark"], order["stop_price"], order["triggered_leg"]) == (51000, 50500, "trailing")
    # The price that fired is the mark of the tick; the fill is at the bid.
    assert (order["trigger_price"], order["trigger_source"], order["trigger_sequence"]) == (50490, "paper", sequence)
    assert order["triggered_at"] is not None
    assert (order["average_price"], order["filled_quantity"]) == (50489.5, opened["size"])
    trade = await trader.trade(opened)
    assert (trade["status"], trade["close_reason"], trade["exit_price"]) == ("closed", "trailing", 50489.5)
    assert trade["size"] == 0
    assert trade["pnl"] > 0


async def test_a_waiting_trailing_stop_shows_where_it_stands(trader: Trader, market: HandMarket) -> None:
    opened = await trader.open(direction=False, order_type="TRAILING_STOP", trailing_stop_percentage=2)
    (exit_id,) = opened["exit_order_ids"]

    shown = await trader.order(exit_id)
    assert (shown["watermark"], shown["stop_price"]) == (50000, 51000)

    await market.at(49_000)
    moved = await trader.until_value(exit_id, watermark=49000)
    assert moved["stop_price"] == 49980


@pytest.mark.parametrize(("leg", "price"), [("stop", 47_990), ("take_profit", 55_010)])
async def test_each_leg_of_an_oco_closes_the_trade(trader: Trader, market: HandMarket, leg: str, price: int) -> None:
    opened = await trader.open(order_type="OCO", oco_stop_price=48000, oco_take_profit_price=55000)
    (exit_id,) = opened["exit_order_ids"]

    await market.at(price)

    order = await trader.until_order(exit_id, "filled")
    assert (order["triggered_leg"], order["trigger_price"]) == (leg, price)
    assert (await trader.trade(opened))["status"] == "closed"


async def test_of_several_exits_one_fires_and_the_others_end(trader: Trader, market: HandMarket) -> None:
    opened = await trader.open(stop_price=48000, take_profit_price=55000, trailing_stop_distance=1500)
    await market.at(48_400)

    trade = await trader.until_trade(opened, "closed")
    by_type = {order["order_type"]: order for order in trade["orders"] if order["role"] == "exit"}
    assert {kind: order["status"] for kind, order in by_type.items()} == {
        "TRAILING_STOP": "filled",
        "STOP_LOSS": "cancelled",
        "TAKE_PROFIT": "cancelled",
    }
    assert by_type["STOP_LOSS"]["reason"] == "trade_closed"


async def test_an_exit_fires_at_its_level_and_not_before(trader: Trader, market: HandMarket) -> None:
    opened = await trader.open(direction=False, order_type="STOP_LOSS", stop_price=51000)
    (exit_id,) = opened["exit_order_ids"]
    # (bid + ask) / 2 is one cent short, and then exactly there.
    await market.quote(("50999.49", "51000.49"))
    later = await trader.open(collateral=10)
    assert (await trader.order(exit_id))["status"] == "pending"
    sequence = await market.quote(("50999.50", "51000.50"))

    order = await trader.until_order(exit_id, "filled")
    assert (order["trigger_sequence"], order["trigger_price"], order["average_price"]) == (sequence, 51000, 51000.5)
    assert (await trader.trade(later))["status"] == "open"


async def test_a_position_without_protection_is_liquidated(trader: Trader, market: HandMarket) -> None:
    opened = await trader.open(leverage=50, order_type="TAKE_PROFIT", take_profit_price=55000)
    (position,) = (await trader.read("/positions"))["positions"]

    await market.at(int(position["liquidation_price"]) - 10)

    trade = await trader.until_trade(opened, "liquidated")
    assert (trade["close_reason"], trade["size"]) == ("liquidated", 0)
    assert (await trader.order(opened["exit_order_ids"][0]))["status"] == "cancelled"
    assert (await trader.read("/positions"))["positions"] == []
    assert "trade.liquidated liquidated" in await trader.events()


class TestAttach:
    async def test_to_a_trade_named_by_its_id_or_by_pair_and_index(self, trader: Trader, market: HandMarket) -> None:
        opened = await trader.open()
        by_id = await trader.send(
            "POST",
            "/orders",
            {"trade_id": opened["trade_id"], "order_type": "STOP_LOSS", "stop_price": 48000, "client_order_id": "a-1"},
        )
        by_index = await trader.send(
            "POST",
            "/orders",
            {"pair_id": opened["pair_id"], "trade_index": 0, "order_type": "TAKE_PROFIT", "take_profit_price": 55000},
        )

        assert (by_id.status_code, by_index.status_code) == (201, 201), by_id.text + by_index.text
        assert (by_id.json()["status"], by_id.json()["client_order_id"]) == ("pending", "a-1")
        (position,) = (await trader.read("/positions"))["positions"]
        assert position["exit_order_ids"] == [by_id.json()["id"], by_index.json()["id"]]
        await market.at(47_999)
        assert (await trader.until_trade(opened, "closed"))["close_reason"] == "stop"

    @pytest.mark.parametrize(
        ("fields", "status", "code"),
        [
            ({"order_type": "STOP_LOSS", "stop_price": 50001}, 400, "STOP_WRONG_SIDE"),
            ({"order_type": "TAKE_PROFIT", "take_profit_price": 49999}, 400, "TAKE_PROFIT_WRONG_SIDE"),
            ({"order_type": "STOP_LOSS", "stop_price": 40000}, 400, "STOP_BEYOND_LIQUIDATION"),
            ({"order_type": "STOP_LOSS", "stop_price": "48000.001"}, 400, "TOO_MANY_DECIMALS"),
            ({"order_type": "STOP_LOSS"}, 400, "MISSING_FIELD"),
            ({"order_type": "OCO", "oco_stop_price": 48000}, 400, "MISSING_FIELD"),
            ({"order_type": "STOP_LOSS", "stop_price": 48000, "take_profit_price": 55000}, 400, "CONFLICTING_FIELDS"),
            ({"order_type": "MARKET"}, 400, "VALIDATION_ERROR"),
            ({"order_type": "TRAILING_STOP", "trailing_stop_distance": 50000}, 400, "STOP_WRONG_SIDE"),
        ],
    )
    async def test_what_cannot_protect_is_refused(
        self, trader: Trader, fields: dict[str, Any], status: int, code: str
    ) -> None:
        opened = await trader.open()

        answer = await trader.send("POST", "/orders", {"trade_id": opened["trade_id"], **fields})

        refusal(answer, status, code)
        assert len((await trader.trade(opened))["orders"]) == 1

    @pytest.mark.parametrize(
        ("name", "code"),
        [
            ({}, "MISSING_FIELD"),
            ({"pair_id": 1}, "MISSING_FIELD"),
            ({"trade_id": 1, "pair_id": 1, "trade_index": 0}, "CONFLICTING_FIELDS"),
        ],
    )
    async def test_a_trade_is_named_in_one_way(self, trader: Trader, name: dict[str, int], code: str) -> None:
        answer = await trader.send("POST", "/orders", {**name, "order_type": "STOP_LOSS", "stop_price": 48000})
        refusal(answer, 400, code)

    async def test_a_closed_trade_takes_no_exits(self, trader: Trader) -> None:
        opened = await trader.open()
        await trader.close(opened)

        answer = await trader.send(
            "POST", "/orders", {"trade_id": opened["trade_id"], "order_type": "STOP_LOSS", "stop_price": 48000}
        )
        refusal(answer, 404, "TRADE_NOT_FOUND")

    async def test_a_client_order_id_is_taken_once(self, trader: Trader) -> None:
        opened = await trader.open(client_order_id="mine")
        body = {"trade_id": opened["trade_id"], "order_type": "STOP_LOSS", "stop_price": 48000}
        refusal(await trader.send("POST", "/orders", {**body, "client_order_id": "mine"}), 409, "ALREADY_EXISTS")

        named = {**body, "client_order_id": "stop-1"}
        first = await trader.send("POST", "/orders", named)
        assert first.status_code == 201, first.text
        refusal(await trader.send("POST", "/orders", {**named, "stop_price": 47000}), 409, "ALREADY_EXISTS")
        await trader.close(opened)
        again = await trader.send("POST", "/orders", named)
        assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])
        assert again.json()["status"] == "cancelled"


class TestAmend:
    async def test_a_moved_stop_fires_at_its_new_level_only(self, trader: Trader, market: HandMarket) -> None:
        opened = await trader.open(order_type="STOP_LOSS", stop_price=48000)
        (exit_id,) = opened["exit_order_ids"]

        answer = await trader.send("PATCH", f"/orders/{exit_id}", {"stop_price": 47000})

        assert (answer.status_code, answer.json()["stop_price"]) == (200, 47000)
        await market.at(47_500)
        assert (await trader.order(exit_id))["status"] == "pending"
        await market.at(47_000)
        assert (await trader.until_order(exit_id, "filled"))["trigger_price"] == 47000
        assert "order.updated amended" in await trader.events()

    async def test_a_trailing_stop_starts_anew_at_the_present_price(self, trader: Trader, market: HandMarket) -> None:
        opened = await trader.open(order_type="TRAILING_STOP", trailing_stop_distance=5000)
        (exit_id,) = opened["exit_order_ids"]
        await market.quote(("51999.50", "52000.50"), ("49999.50", "50000.50"))

        answer = await trader.send("PATCH", f"/orders/{exit_id}", {"trailing_stop_percentage": 1})

        assert answer.status_code == 200, answer.text
        amended = answer.json()
        assert (amended["trailing_stop_distance"], amended["trailing_stop_percentage"]) == (None, 1)
        assert (amended["watermark"], amended["stop_price"]) == (50000, 49500)

    @pytest.mark.parametrize(
        ("changes", "status", "code"),
        [
            ({}, 400, "MISSING_FIELD"),
            ({"stop_price": 50001}, 400, "STOP_WRONG_SIDE"),
            ({"take_profit_price": 55000}, 400, "CONFLICTING_FIELDS"),
            ({"stop_price": None}, 400, "VALIDATION_ERROR"),
            ({"stop_price": 47000, "take_profit_price": None}, 400, "VALIDATION_ERROR"),
            ({"stop_price": 47000, "trigger_by": None}, 400, "VALIDATION_ERROR"),
            ({"stop_price": 47000, "price_protect": None}, 400, "VALIDATION_ERROR"),
            ({"status": "filled"}, 400, "VALIDATION_ERROR"),
        ],
    )
    async def test_what_makes_no_sense_changes_nothing(
        self, trader: Trader, changes: dict[str, Any], status: int, code: str
    ) -> None:
        opened = await trader.open(order_type="STOP_LOSS", stop_price=48000)
        (exit_id,) = opened["exit_order_ids"]

        refusal(await trader.send("PATCH", f"/orders/{exit_id}", changes), status, code)
        assert (await trader.order(exit_id))["stop_price"] == 48000

    async def test_only_exits_that_wait_can_be_amended(self, trader: Trader) -> None:
        opened = await trader.open(order_type="STOP_LOSS", stop_price=48000)
        entry = await trader.send("PATCH", f"/orders/{opened['order_id']}", {"stop_price": 47000})
        refusal(entry, 409, "CONFLICT")
        await trader.close(opened)
        ended = await trader.send("PATCH", f"/orders/{opened['exit_order_ids'][0]}", {"stop_price": 47000})
        refusal(ended, 409, "CONFLICT")


class TestCancel:
    async def test_a_cancelled_exit_does_not_fire(self, trader: Trader, market: HandMarket) -> None:
        opened = await trader.open(order_type="STOP_LOSS", stop_price=48000)
        (exit_id,) = opened["exit_order_ids"]

        answer = await trader.send("DELETE", f"/orders/{exit_id}")

        assert (answer.status_code, answer.json()["status"], answer.json()["reason"]) == (200, "cancelled", "user")
        witness = await trader.open(order_type="STOP_LOSS", stop_price=48000)
        await market.at(47_900)
        await trader.until_trade(witness, "closed")
        assert (await trader.trade(opened))["status"] == "open"

    async def test_what_has_ended_cannot_be_cancelled(self, trader: Trader) -> None:
        opened = await trader.open(order_type="STOP_LOSS", stop_price=48000)
        (exit_id,) = opened["exit_order_ids"]
        assert (await trader.send("DELETE", f"/orders/{exit_id}")).status_code == 200

        refusal(await trader.send("DELETE", f"/orders/{exit_id}"), 409, "CONFLICT")
        refusal(await trader.send("DELETE", f"/orders/{opened['order_id']}"), 409, "CONFLICT")
