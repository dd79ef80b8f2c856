"""Closing trades over HTTP: whole, in part, twice, unfilled; and what the account shows of it."""

import asyncio
from decimal import Decimal

import pytest

from tests.integration.api.trading.market import HandMarket, Trader, refusal


async def test_a_close_is_answered_with_its_fill(trader: Trader, market: HandMarket) -> None:
    opened = await trader.open(order_type="STOP_LOSS", stop_price=48000)
    await market.at(51_000)

    answer = await trader.close(opened)

    assert answer.status_code == 200, answer.text
    closed = answer.json()
    assert set(closed) == {"transaction_hash", "status", "order_id", "trade_id", "exit_price", "pnl"}
    assert (closed["status"], closed["exit_price"]) == ("closed", 50999.5)
    assert len(closed["transaction_hash"]) == 66
    assert closed["transaction_hash"] != opened["transaction_hash"]
    # 0.019999 x (50999.5 - 50000.5)
    assert closed["pnl"] == 19.979001
    trade = await trader.trade(opened)
    assert (trade["status"], trade["size"], trade["close_reason"]) == ("closed", 0, "user")
    assert [(order["role"], order["status"]) for order in trade["orders"]] == [
        ("entry", "filled"),
        ("exit", "cancelled"),
        ("close", "filled"),
    ]


async def test_a_part_is_closed_and_the_exits_follow(trader: Trader) -> None:
    opened = await trader.open(order_type="STOP_LOSS", stop_price=48000)

    answer = await trader.close(opened, "?fraction=0.5")

    assert (answer.status_code, answer.json()["status"]) == (200, "partially_closed")
    trade = await trader.trade(opened)
    assert (trade["status"], trade["size"]) == ("open", 0.01)
    (exit_id,) = opened["exit_order_ids"]
    assert (await trader.order(exit_id))["quantity"] == 0.01
    (position,) = (await trader.read("/positions"))["positions"]
    assert position["size"] == 0.01
    assert (await trader.close(opened, "?fraction=1")).json()["status"] == "closed"


async def test_each_close_tells_what_it_realised_itself(trader: Trader, market: HandMarket) -> None:
    opened = await trader.open()
    await market.at(51_000)
    first = (await trader.close(opened, "?fraction=0.5")).json()
    await market.at(52_000)

    second = (await trader.close(opened)).json()

    assert second["pnl"] > first["pnl"] > 0
    trade = await trader.trade(opened)
    assert Decimal(str(trade["pnl"])) == Decimal(str(first["pnl"])) + Decimal(str(second["pnl"]))


async def test_closing_twice_names_the_closed_trade(trader: Trader) -> None:
    opened = await trader.open()
    assert (await trader.close(opened)).status_code == 200

    details = refusal(await trader.close(opened), 404, "TRADE_NOT_FOUND")

    assert (details["trade_id"], details["status"]) == (opened["trade_id"], "closed")
    assert details["closed_at"] is not None


async def test_of_many_closes_at_once_one_trades(trader: Trader) -> None:
    opened = await trader.open()

    answers = await asyncio.gather(*(trader.close(opened) for _ in range(10)))

    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) == 1
    codes = {answer.json()["error"]["code"] for answer in answers if answer.status_code != 200}
    assert codes <= {"TRADE_CLOSING", "TRADE_NOT_FOUND"}
    closes = [order for order in (await trader.trade(opened))["orders"] if order["role"] == "close"]
    assert [order["status"] for order in closes] == ["filled"]


async def test_a_price_that_fires_while_it_is_closed_closes_once(trader: Trader, market: HandMarket) -> None:
    opened = await trader.open(order_type="STOP_LOSS", stop_price=48000)

    await asyncio.gather(trader.close(opened), market.at(47_000))

    trade = await trader.until_trade(opened, "closed")
    filled = [order for order in trade["orders"] if order["role"] != "entry" and order["status"] == "filled"]
    assert len(filled) == 1
    assert filled[0]["filled_quantity"] == opened["size"]


class TestLimit:
    async def test_it_rests_until_the_price_comes_to_it(self, trader: Trader, market: HandMarket) -> None:
        opened = await trader.open(order_type="LIMIT", price=49000, stop_price=48500)

        assert opened["status"] == "pending"
        assert [opened[name] for name in ("transaction_hash", "entry_price", "size", "fee")] == [None] * 4
        order = await trader.until_order(opened["order_id"], "pending")
        assert (order["order_type"], order["price"]) == ("LIMIT", 49000)
        assert (await trader.order(opened["exit_order_ids"][0]))["status"] == "waiting"
        assert (await trader.read("/portfolio"))["margin"] > 100
        # A buy fills when the ask comes down to its price, and at its price.
        await market.quote(("48999.01", "49000.01"))
        assert (await trader.order(opened["order_id"]))["status"] == "pending"
        await market.quote(("48998.00", "48999.00"))

        assert (await trader.until_order(opened["order_id"], "filled"))["average_price"] == 49000
        trade = await trader.trade(opened)
        assert (trade["status"], trade["entry_price"]) == ("open", 49000)
        assert (await trader.order(opened["exit_order_ids"][0]))["status"] == "pending"
        await market.at(48_500)
        assert (await trader.until_trade(opened, "closed"))["close_reason"] == "stop"

    async def test_a_sell_rests_above(self, trader: Trader, market: HandMarket) -> None:
        opened = await trader.open(direction=False, order_type="LIMIT", price=51000)
        assert opened["status"] == "pending"
        await market.quote(("51000.00", "51001.00"))
        assert (await trader.until_order(opened["order_id"], "filled"))["average_price"] == 51000

    async def test_one_that_is_marketable_fills_at_the_quote(self, trader: Trader) -> None:
        opened = await trader.open(order_type="LIMIT", price=51000)
        assert (opened["status"], opened["entry_price"]) == ("success", 50000.5)

    async def test_it_is_cancelled_by_its_order(self, trader: Trader, market: HandMarket) -> None:
        opened = await trader.open(order_type="LIMIT", price=49000, stop_price=48500)
        await trader.until_order(opened["order_id"], "pending")

        answer = await trader.send("DELETE", f"/orders/{opened['order_id']}")

        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled"), answer.text
        await self._has_left_no_trace(trader, market, opened)

    async def test_it_is_cancelled_by_closing_its_trade(self, trader: Trader, market: HandMarket) -> None:
        opened = await trader.open(order_type="LIMIT", price=49000, stop_price=48500)
        await trader.until_order(opened["order_id"], "pending")

        answer = await trader.close(opened)

        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled"), answer.text
        assert answer.json()["order_id"] == opened["order_id"]
        await self._has_left_no_trace(trader, market, opened)

    @staticmethod
    async def _has_left_no_trace(trader: Trader, market: HandMarket, opened: dict[str, int]) -> None:
        trade = await trader.trade(opened)
        assert trade["status"] == "cancelled"
        assert {order["status"] for order in trade["orders"]} == {"cancelled"}
        witness = await trader.open(order_type="LIMIT", price=49000)
        await market.at(48_900)
        await trader.until_order(witness["order_id"], "filled")
        assert (await trader.trade(opened))["status"] == "cancelled"
        await trader.close(witness)
        assert (await trader.read("/portfolio"))["margin"] == 0


class TestAccount:
    async def test_a_position_has_the_fields_that_are_promised(self, trader: Trader, market: HandMarket) -> None:
        opened = await trader.open(order_type="STOP_LOSS", stop_price=48000)
        await market.at(51_000)

        (position,) = (await trader.read("/positions"))["positions"]

        assert (position["asset"], position["side"], position["leverage"]) == ("BTC", "long", 10)
        assert (position["size"], position["entry_price"]) == (opened["size"], 50000.5)
        assert (position["current_price"], position["unrealized_pnl"]) == (51000, 19.989)
        assert (position["pair_id"], position["trade_index"]) == (opened["pair_id"], opened["trade_index"])
        assert position["exit_order_ids"] == opened["exit_order_ids"]
        assert position["margin"] == 100

    async def test_the_portfolio_adds_up(self, trader: Trader, market: HandMarket) -> None:
        first = await trader.open(order_type="STOP_LOSS", stop_price=48000)
        await trader.open(asset="EURUSD", direction=False, collateral=250)
        await market.at(51_000)
        closed = (await trader.close(first)).json()

        seen = await trader.exactly("/portfolio")

        trades = (await trader.exactly("/trades"))["trades"]
        (position,) = (await trader.exactly("/positions"))["positions"]
        fees = sum(Decimal(trade["fees"]) for trade in trades)
        realised = sum(Decimal(trade["pnl"]) for trade in trades)
        assert realised == Decimal(str(closed["pnl"]))
        assert (Decimal(seen["fees"]), Decimal(seen["realized_pnl"])) == (fees, realised)
        assert (seen["open_positions"], Decimal(seen["margin"])) == (1, Decimal(250))
        # Money is conserved: 10,000 + realised - fees is what is free and what is locked.
        assert Decimal(seen["balance"]) + Decimal(seen["margin"]) == 10_000 + realised - fees
        assert Decimal(seen["unrealized_pnl"]) == Decimal(position["unrealized_pnl"])
        total = sum(Decimal(seen[name]) for name in ("balance", "margin", "unrealized_pnl"))
        assert Decimal(seen["equity"]) == total

    async def test_positions_without_a_price_are_counted(
        self, trader: Trader, market: HandMarket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await trader.open()
        await market.at(51_000)
        priced = await trader.read("/portfolio")
        monkeypatch.setattr(market.board, "latest", lambda _: None)
        unpriced = await trader.read("/portfolio")

        assert priced["unrealized_pnl"] > 0
        assert (priced["open_positions"], priced["unpriced_positions"]) == (1, 0)
        assert (unpriced["open_positions"], unpriced["unpriced_positions"]) == (1, 1)
        assert unpriced["unrealized_pnl"] == 0

    async def test_paper_money_starts_over_once_nothing_is_open(self, trader: Trader) -> None:
        opened = await trader.open()
        refusal(await trader.send("POST", "/paper/reset"), 409, "CONFLICT")
        await trader.close(opened)
        resting = await trader.open(order_type="LIMIT", price=40000)
        await trader.until_order(resting["order_id"], "pending")
        refusal(await trader.send("POST", "/paper/reset"), 409, "CONFLICT")
        await trader.close(resting)
        assert (await trader.read("/portfolio"))["balance"] < 10_000

        answer = await trader.send("POST", "/paper/reset")

        assert answer.status_code == 200, answer.text
        assert (answer.json()["balance"], answer.json()["margin"]) == (10_000, 0)
        assert (await trader.read("/portfolio"))["equity"] == 10_000


class TestLog:
    async def test_it_tells_the_whole_story_in_order(self, trader: Trader, market: HandMarket) -> None:
        opened = await trader.open(order_type="TRAILING_STOP", trailing_stop_distance=500)
        await trader.close(opened, "?fraction=0.5")
        await market.at(49_400)
        await trader.until_trade(opened, "closed")

        assert await trader.events() == [
            "order.created",
            "order.created",
            "order.updated submitted",
            "order.filled",
            "trade.executed",
            "order.updated armed",
            "position.updated opened",
            "order.created",
            "trade.updated closing",
            "order.updated submitted",
            "order.filled",
            "trade.updated part_closed",
            "position.updated reduced",
            "order.triggered trailing",
            "trade.updated closing",
            "order.updated submitted",
            "order.filled",
            "trade.closed trailing",
            "position.updated closed",
        ]

    async def test_it_can_be_read_on_from_any_place(self, trader: Trader) -> None:
        await trader.close(await trader.open())
        url, headers = "/api/v1/events", trader.person.headers
        whole = (await trader.client.get(url, headers=headers)).json()["events"]
        assert [event["sequence"] for event in whole] == list(range(1, len(whole) + 1))

        told, after = [], 0
        while page := (await trader.client.get(f"{url}?after={after}&limit=3", headers=headers)).json():
            if not page["events"]:
                break
            told += page["events"]
            after = page["next_after"]
        assert told == whole
