"""What must be found in the database of an installation that died and lived on."""

from collections.abc import Sequence

from tests.integration.engine.processes import Installation
from tests.replays import PlayedRow, exit_of, expected_end, marks_of


async def assert_ends_of_the_oracle(installation: Installation, rows: Sequence[PlayedRow]) -> None:
    """Every exit fired at the tick, the price and the watermark of a run that was never killed, or not at all."""
    base = (await installation.query("SELECT base FROM feed_states"))[0]["base"]
    trades = await installation.query("SELECT t.*, p.symbol FROM trades t JOIN pairs p ON p.id = t.pair_id")
    exits = await installation.query("SELECT * FROM orders WHERE role = 'exit' ORDER BY id")
    positions = {str(row["id"]): row for row in await installation.query("SELECT * FROM paper_positions")}
    by_hand = await installation.query("SELECT trade_id FROM orders WHERE role = 'close'")
    closed_by_hand = {row["trade_id"] for row in by_hand}
    ticks = {symbol: marks_of(rows, symbol, base) for symbol in {trade["symbol"] for trade in trades}}
    for trade in trades:
        if trade["venue_trade_index"] is None or trade["id"] in closed_by_hand:
            continue
        mine = [row for row in exits if row["trade_id"] == trade["id"]]
        expected = expected_end(
            positions[trade["venue_trade_index"]], [exit_of(row) for row in mine], ticks[trade["symbol"]]
        )
        fired = {row["id"]: row for row in mine if row["trigger_sequence"] is not None}
        if expected.fired is None:
            assert fired == {}
            assert trade["status"] == ("open" if expected.liquidated_at is None else "liquidated")
            continue
        if trade["status"] == "open":
            # The close arrived when the market had closed: the crossing was let go, and no later tick came.
            assert any(row["released_sequence"] is not None for row in mine), f"{trade['id']}: {expected}"
            assert fired == {}
            continue
        (row,) = fired.values()
        seen = (row["id"], row["trigger_sequence"], row["trigger_price"], row["watermark"])
        assert seen == (expected.order_id, *expected.fired[:2], expected.fired.watermark)
        assert (row["status"], trade["status"]) == ("filled", "closed")


async def assert_nothing_doubled(installation: Installation) -> None:
    """No order filled twice, no close beyond its trade, no money made, and both books tell of the same positions."""
    doubled = "SELECT order_id FROM fills WHERE order_id IS NOT NULL GROUP BY order_id, is_close HAVING count(*) > 1"
    assert await installation.query(doubled) == []
    unequal = """
        SELECT t.id FROM trades t JOIN fills f ON f.trade_id = t.id
        GROUP BY t.id HAVING sum(CASE WHEN f.is_close THEN -f.quantity ELSE f.quantity END) <> t.size
    """
    assert await installation.query(unequal) == []
    total = await installation.query("SELECT coalesce(sum(amount), 0) AS total FROM paper_ledger")
    assert total[0]["total"] == 0
    held = await installation.query("SELECT id::text FROM paper_positions WHERE status = 'open' ORDER BY 1")
    known = await installation.query(
        "SELECT venue_trade_index AS id FROM trades WHERE status IN ('open', 'closing') ORDER BY 1"
    )
    assert held == known
    gaps = "SELECT user_id FROM events GROUP BY user_id HAVING max(sequence) <> count(*) OR min(sequence) <> 1"
    assert await installation.query(gaps) == []
