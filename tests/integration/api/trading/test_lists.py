"""Lists of trades and orders: pages by cursor, filters, order."""

import asyncio
from typing import Any
from urllib.parse import quote

from tests.integration.api.trading.market import HandMarket, Trader, refusal

# Trades, each with its entry and a stop: 120 orders.
MANY = 60
AT_ONCE = 6


async def pages(trader: Trader, path: str, name: str, query: str) -> list[list[dict[str, Any]]]:
    """Every page of a list, following its cursors."""
    found, cursor = [], ""
    while True:
        page = await trader.read(f"{path}?{query}{cursor}")
        assert set(page) == {name, "next_cursor"}
        found.append(page[name])
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={quote(page['next_cursor'])}"


async def test_cursors_lead_through_every_row_once_newest_first(trader: Trader) -> None:
    for _ in range(0, MANY, AT_ONCE):
        await asyncio.gather(*(trader.open(collateral=10, stop_price=48000) for _ in range(AT_ONCE)))

    seen = await pages(trader, "/orders", "orders", "limit=50")
    assert [len(page) for page in seen] == [50, 50, 20]
    ids = [order["id"] for page in seen for order in page]
    assert ids == sorted(set(ids), reverse=True)

    trades = await pages(trader, "/trades", "trades", "limit=20")
    # The last page is full, and still says that nothing follows.
    assert [len(page) for page in trades] == [20, 20, 20]
    indexes = sorted(trade["trade_index"] for page in trades for trade in page)
    assert indexes == list(range(MANY))


async def test_rows_that_come_while_one_reads_do_not_move_the_pages(trader: Trader) -> None:
    opened = [(await trader.open())["trade_id"] for _ in range(4)]
    first = await trader.read("/trades?limit=2")
    await trader.open()
    second = await trader.read(f"/trades?limit=2&cursor={first['next_cursor']}")

    assert [trade["id"] for trade in first["trades"] + second["trades"]] == opened[::-1]
    assert second["next_cursor"] is None


async def test_filters(trader: Trader, market: HandMarket) -> None:
    closed, resting = await trader.open(), await trader.open(order_type="LIMIT", price=49000)
    opened = await trader.open(order_type="STOP_LOSS", stop_price=48000)
    await trader.close(closed)
    await trader.until_order(resting["order_id"], "pending")

    async def trades(query: str) -> list[int]:
        return [trade["id"] for trade in (await trader.read(f"/trades?{query}"))["trades"]]

    assert await trades("status=open") == [opened["trade_id"]]
    assert await trades("status=open&status=closed") == [opened["trade_id"], closed["trade_id"]]
    assert await trades("status=liquidated") == []
    orders = await trader.read(f"/orders?trade_id={opened['trade_id']}")
    assert [order["id"] for order in orders["orders"]] == [*opened["exit_order_ids"], opened["order_id"]]
    pending = await trader.read("/orders?status=pending")
    assert [order["id"] for order in pending["orders"]] == [*opened["exit_order_ids"], resting["order_id"]]


async def test_wrong_pages_are_refused(trader: Trader) -> None:
    for query in (
        "limit=0",
        "limit=201",
        "limit=x",
        "cursor=nonsense",
        "cursor=",
        "status=nope",
        "cursor=MTIzNA%3D%3D",
    ):
        refusal(await trader.send("GET", f"/orders?{query}"), 400, "VALIDATION_ERROR")
