"""Results over HTTP: the very sums of the paper ledger, live, in whole series, of the caller alone."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from app.bootstrap import Container
from app.config.settings import Settings
from tests.conftest import MakeSettings
from tests.integration.api.trading.market import API, HandMarket, Trader, refusal
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("one_day")

STARTING_BALANCE = Decimal(10_000)
TRADED = {"pnl", "fees", "funding", "net_pnl", "volume"}
COUNTED = {"trades_opened", "trades_closed", "trades_won", "trades_lost"}
RATIOS = {"win_rate", "gross_profit", "gross_loss", "profit_factor", "average_win", "average_loss", "max_drawdown"}
BOUNDS = {"first_day", "last_day"}


@pytest.fixture(scope="module")
def settings(make_settings: MakeSettings) -> Settings:
    """A funding every second, so that some are booked while the tests run."""
    return make_settings(paper_funding_seconds=1, paper_funding_rate=Decimal("0.0003"))


async def ask(trader: Trader, path: str) -> dict[str, Any]:
    """An answer of the analytics, its numbers with all their digits."""
    headers = {**trader.person.headers, "Accept": "application/json; numbers=string"}
    answer = await trader.client.get(f"{API}/analytics{path}", headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def today() -> date:
    return datetime.now(UTC).date()


async def funded(trader: Trader, market: HandMarket, opened: dict[str, Any]) -> None:
    """Return once a trade has paid or received a funding."""

    async def is_funded() -> bool:
        await market.at(50_000)
        return bool((await trader.trade(opened))["funding"])

    await until(is_funded)


async def test_the_days_add_up_to_the_ledger(trader: Trader, market: HandMarket, container: Container) -> None:
    long, short = await trader.open(collateral=300), await trader.open(direction=False, collateral=200)
    lost = await trader.open(collateral=100, leverage=50)
    for opened in (long, short):
        await funded(trader, market, opened)
    funding = {row["trade_id"]: Decimal(row["funding"]) for row in (await trader.exactly("/positions"))["positions"]}
    assert funding[long["trade_id"]] < 0 < funding[short["trade_id"]]
    await market.at(49_000)
    await trader.until_trade(lost, "liquidated")
    await trader.close(short, "?fraction=0.4")
    await market.at(51_234)
    await trader.close(short)
    await trader.close(long)

    async def is_all_booked() -> bool:
        summary, money = await ask(trader, "/summary"), await trader.exactly("/portfolio")
        has = Decimal(money["balance"]) + Decimal(money["margin"])
        return has == STARTING_BALANCE + Decimal(summary["net_pnl"])

    await until(is_all_booked)
    for _ in range(2):
        summary, money = await ask(trader, "/summary"), await trader.exactly("/portfolio")
        trades = (await trader.exactly("/trades"))["trades"]
        realised = (money["realized_pnl"], money["fees"], money["funding"])
        assert (summary["pnl"], summary["fees"], summary["funding"]) == realised
        assert Decimal(summary["funding"]) == sum(Decimal(trade["funding"]) for trade in trades) != 0
        results = [Decimal(t["pnl"]) - Decimal(t["fees"]) + Decimal(t["funding"]) for t in trades]
        assert Decimal(summary["gross_profit"]) == sum(result for result in results if result > 0)
        assert Decimal(summary["gross_loss"]) == -sum(result for result in results if result < 0)
        counts = {name: summary[name] for name in COUNTED}
        assert counts == {"trades_opened": 3, "trades_closed": 3, "trades_won": 1, "trades_lost": 2}
        assert summary["win_rate"] == "33.333333333333333333"
        # The same, once it is kept.
        await container.analytics.roll_up()


async def test_today_is_live(trader: Trader, container: Container) -> None:
    assert (await ask(trader, "/summary"))["trades_opened"] == 0
    opened = await trader.open()
    await container.analytics.roll_up()
    assert (await ask(trader, "/summary"))["trades_opened"] == 1
    await trader.close(opened)
    for path in ("/summary", "/pnl"):
        answer = await ask(trader, path)
        assert answer.get("points", [answer])[-1]["trades_closed"] == 1


@pytest.mark.parametrize(("interval", "count"), [("day", 30), ("week", 12), ("month", 12)])
async def test_a_series_has_every_period(trader: Trader, interval: str, count: int) -> None:
    await trader.close(await trader.open())
    answer = await ask(trader, f"/pnl?interval={interval}")

    assert set(answer) == {"interval", "points"} | BOUNDS
    assert len(answer["points"]) == count
    for point in answer["points"]:
        assert set(point) == TRADED | COUNTED | BOUNDS | {"cumulative_net_pnl"}
    *before, last = answer["points"]
    assert {point["net_pnl"] for point in before} == {"0"}
    assert last["cumulative_net_pnl"] == last["net_pnl"] != "0"
    assert (last["last_day"], last["trades_closed"]) == (today().isoformat(), 1)
    ends = [(date.fromisoformat(p["first_day"]), date.fromisoformat(p["last_day"])) for p in answer["points"]]
    assert all(then[0] - now[1] == timedelta(days=1) for now, then in pairwise(ends))


async def test_bounds_are_kept(trader: Trader) -> None:
    await trader.close(await trader.open())
    tomorrow, yesterday = today() + timedelta(days=1), today() - timedelta(days=1)

    past = await ask(trader, f"/summary?from=2026-01-05&to={yesterday}")
    assert set(past) == TRADED | COUNTED | RATIOS | BOUNDS
    assert (past["first_day"], past["last_day"]) == ("2026-01-05", yesterday.isoformat())
    assert (past["trades_closed"], past["win_rate"], past["average_loss"]) == (0, None, None)
    # Days to come are left out.
    ahead = await ask(trader, f"/pnl?from={today()}&to={tomorrow + timedelta(days=40)}")
    assert [point["first_day"] for point in ahead["points"]] == [ahead["last_day"]] == [today().isoformat()]
    single = await ask(trader, "/pnl?interval=week&from=2026-01-07&to=2026-01-12")
    assert [(p["first_day"], p["last_day"]) for p in single["points"]] == [
        ("2026-01-07", "2026-01-11"),
        ("2026-01-12", "2026-01-12"),
    ]


@pytest.mark.parametrize(
    ("path", "field", "code"),
    [
        ("/summary?from=2026-02-02&to=2026-02-01", "query.from", "range_reversed"),
        ("/pnl?from=9999-12-31", "query.from", "range_reversed"),
        ("/pnl?from=2020-01-01", "query.from", "range_too_long"),
        ("/summary?from=0001-01-01", "query.from", "range_too_long"),
        ("/pnl?interval=year", "query.interval", "enum"),
        ("/summary?from=yesterday", "query.from", "day_text"),
        ("/summary?from=0", "query.from", "day_text"),
        ("/summary?from=2026-02-30", "query.from", "date_from_datetime_parsing"),
        ("/summary?since=2026-02-01", "query.since", "extra_forbidden"),
    ],
)
async def test_what_cannot_be_answered_is_refused_with_the_reason(
    trader: Trader, path: str, field: str, code: str
) -> None:
    answer = await trader.client.get(f"{API}/analytics{path}", headers=trader.person.headers)
    (wrong,) = refusal(answer, 400, "VALIDATION_ERROR")["errors"]
    assert (wrong["field"], wrong["code"]) == (field, code)


async def test_the_longest_times_are_answered(trader: Trader) -> None:
    first = today() - timedelta(days=3_659)
    assert (await ask(trader, f"/summary?from={first}"))["first_day"] == first.isoformat()
    assert len((await ask(trader, f"/pnl?from={today() - timedelta(days=999)}"))["points"]) == 1_000


async def test_each_sees_their_own_and_nobody_sees_nothing(trader: Trader, other_trader: Trader) -> None:
    await trader.close(await trader.open())

    assert (await ask(other_trader, "/summary"))["trades_closed"] == 0
    refusal(await trader.client.get(f"{API}/analytics/summary"), 401, "UNAUTHORIZED")
