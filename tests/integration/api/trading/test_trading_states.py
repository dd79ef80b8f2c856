"""Trading states, caps and the dead man's switch over HTTP, with the order engine running."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from app.bootstrap import Container
from app.config.settings import Settings
from app.domain.enums import TradingState
from tests.conftest import MakeSettings
from tests.factories import Person, create_person
from tests.integration.api.trading.market import API, HandMarket, Trader, refusal
from tests.waiting import until

ADMIN = f"{API}/admin/trading-states"
LIMIT = {"order_type": "LIMIT", "price": 49_000}


class Operator:
    """An administrator who sets trading states."""

    def __init__(self, client: httpx2.AsyncClient, person: Person) -> None:
        self._client = client
        self.person = person

    async def put(self, scope: str, key: object, state: str, reason: str = "a drill") -> httpx2.Response:
        body = {"state": state, "reason": reason}
        return await self._client.put(f"{ADMIN}/{scope}/{key}", json=body, headers=self.person.headers)

    async def set(self, scope: str, key: object, state: str) -> None:
        answer = await self.put(scope, key, state)
        assert answer.status_code == 200, answer.text

    async def listed(self) -> dict[str, Any]:
        answer = await self._client.get(ADMIN, headers=self.person.headers)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture(scope="module")
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(limit_open_trades=3, limit_open_orders=6, rate_limit_trade=30)


@pytest_asyncio.fixture
async def operator(container: Container, client: httpx2.AsyncClient) -> AsyncIterator[Operator]:
    """An administrator; whatever a test set is active again after it."""
    person = await create_person(container)
    async with container.uow() as work:
        assert await work.users.promote(person.email)
    yield Operator(client, person)
    async with container.uow() as work:
        restricted = await work.trading_states.restricted()
    for row in restricted:
        await container.states.set_state(row.scope, row.key, TradingState.ACTIVE, "the test is over", "test")


async def test_only_administrators_set_states(client: httpx2.AsyncClient, user: Person, operator: Operator) -> None:
    nobody = await client.put(f"{ADMIN}/global/all", json={"state": "halted", "reason": "mischief"})
    refusal(nobody, 401, "UNAUTHORIZED")
    for method, path, body in (
        ("PUT", f"{ADMIN}/global/all", {"state": "halted", "reason": "mischief"}),
        ("GET", ADMIN, None),
    ):
        refusal(await client.request(method, path, json=body, headers=user.headers), 403, "FORBIDDEN")

    answer = await operator.put("user", user.id, "halted", "asked to")
    told = answer.json()
    assert answer.status_code == 200
    assert (told["scope"], told["key"], told["state"], told["reason"]) == ("user", str(user.id), "halted", "asked to")
    assert told["changed_by"] == f"user {operator.person.id}"
    await operator.set("user", user.id, "active")
    changes = [change for change in (await operator.listed())["changes"] if change["key"] == str(user.id)]
    assert [(change["old_state"], change["new_state"]) for change in changes] == [
        ("halted", "active"),
        ("active", "halted"),
    ]


@pytest.mark.parametrize(
    ("scope", "key", "body", "status", "code"),
    [
        ("galaxy", "all", {"state": "halted", "reason": "x"}, 400, "VALIDATION_ERROR"),
        ("global", "some", {"state": "halted", "reason": "x"}, 404, "NOT_FOUND"),
        ("pair", "999999", {"state": "halted", "reason": "x"}, 404, "NOT_FOUND"),
        ("pair", "BTCUSDT", {"state": "halted", "reason": "x"}, 400, "VALIDATION_ERROR"),
        ("venue", "nowhere", {"state": "halted", "reason": "x"}, 404, "NOT_FOUND"),
        ("global", "all", {"state": "paused", "reason": "x"}, 400, "VALIDATION_ERROR"),
        ("global", "all", {"state": "halted", "reason": "  "}, 400, "VALIDATION_ERROR"),
        ("global", "all", {"state": "halted"}, 400, "VALIDATION_ERROR"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    client: httpx2.AsyncClient,
    operator: Operator,
    scope: str,
    key: str,
    body: dict[str, str],
    status: int,
    code: str,
) -> None:
    answer = await client.put(f"{ADMIN}/{scope}/{key}", json=body, headers=operator.person.headers)
    refusal(answer, status, code)
    assert all(row["state"] == "active" for row in (await operator.listed())["states"])


async def test_reducing_refuses_entries_cancels_resting_ones_and_lets_positions_go(
    trader: Trader, market: HandMarket, operator: Operator
) -> None:
    held, resting = await trader.open(stop_price=48_000), await trader.open(**LIMIT)
    await operator.set("pair", market.pair_id(), "reducing")

    details = refusal(await trader.ask_open(), 503, "TRADING_HALTED")
    assert details == {"state": "reducing", "scope": "pair", "key": str(market.pair_id()), "reason": "a drill"}
    order = await trader.until_order(resting["order_id"], "cancelled")
    assert order["reason"] == "reducing"
    await market.at(47_900)
    await trader.until_trade(held, "closed")


async def test_a_halt_holds_exits_and_the_first_tick_after_it_decides(
    trader: Trader, market: HandMarket, operator: Operator
) -> None:
    """A stop at 49,000 is passed while trading is halted; the price is back above it before the release."""
    held = await trader.open(stop_price=49_000)
    (stop,) = held["exit_order_ids"]
    await operator.set("global", "all", "halted")

    await market.at(48_500)
    await until_event(trader, "order.updated held")
    assert (await trader.order(stop))["held_since"] is not None
    await market.at(48_400)
    refusal(await trader.ask_open(), 503, "TRADING_HALTED")
    refusal(await trader.close(held), 503, "TRADING_HALTED")
    refusal(await trader.send("DELETE", f"/orders/{stop}"), 503, "TRADING_HALTED")
    assert (await trader.order(stop))["status"] == "pending"
    await market.at(50_200)
    await operator.set("global", "all", "active")
    await until_event(trader, "order.updated released")

    await market.at(49_500)
    order = await trader.order(stop)
    assert (order["status"], order["held_since"]) == ("pending", None)
    await market.at(48_900)
    assert (await trader.until_order(stop, "filled"))["trigger_price"] == 48_900
    assert (await trader.events()).count("order.triggered stop") == 1


async def test_health_tells_what_is_held_back_and_stays_well(
    client: httpx2.AsyncClient, trader: Trader, market: HandMarket, operator: Operator
) -> None:
    async def told() -> dict[str, Any]:
        answer = await client.get("/health")
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")
        found: dict[str, Any] = answer.json()["trading"]
        return found

    async def has_none_of_before() -> bool:
        return await told() == {"held_back": [], "users_held_back": 0, "held_exits": 0}

    await until(has_none_of_before)
    await trader.open(stop_price=49_000)
    await operator.set("user", trader.person.id, "halted")
    await operator.set("pair", market.pair_id(symbol="EURUSD"), "reducing")
    await operator.set("global", "all", "reducing")
    await market.at(48_500)
    await until_event(trader, "order.updated held")

    async def has_held() -> bool:
        return bool((await told())["held_exits"])

    await until(has_held)
    assert await told() == {
        "held_back": [
            {"scope": "global", "key": "all", "state": "reducing"},
            {"scope": "pair", "key": str(market.pair_id(symbol="EURUSD")), "state": "reducing"},
        ],
        # Nobody is named to whoever asks.
        "users_held_back": 1,
        "held_exits": 1,
    }
    assert (await client.get("/health/ready")).status_code == 200


async def test_a_stop_that_is_still_crossed_fires_at_the_first_tick_after_the_release(
    trader: Trader, market: HandMarket, operator: Operator
) -> None:
    held = await trader.open(stop_price=49_000)
    await operator.set("user", trader.person.id, "halted")
    for mark in (48_500, 48_400, 48_300):
        await market.at(mark)
    await until_event(trader, "order.updated held")
    await operator.set("user", trader.person.id, "active")
    await until_event(trader, "order.updated released")
    assert (await trader.trade(held))["status"] == "open"

    await market.at(48_200)

    order = await trader.until_order(held["exit_order_ids"][0], "filled")
    assert order["trigger_price"] == 48_200
    # However many ticks passed it, it was held once.
    assert (await trader.events()).count("order.updated held") == 1


async def test_a_trailing_stop_goes_on_ratcheting_while_it_is_held(
    trader: Trader, market: HandMarket, operator: Operator
) -> None:
    """Held at a watermark of 50,000, it follows the price to 52,000 while trading is halted."""
    held = await trader.open(trailing_stop_distance=1_000)
    (stop,) = held["exit_order_ids"]
    await operator.set("venue", "paper", "halted")
    await market.at(48_900)
    await until_event(trader, "order.updated held")
    for mark in (52_000, 50_900, 51_500):
        await market.at(mark)
    await trader.until_value(stop, stop_price=51_000, watermark=52_000)
    await operator.set("venue", "paper", "active")
    await until_event(trader, "order.updated released")

    await market.at(51_001)
    assert (await trader.order(stop))["status"] == "pending"
    await market.at(51_000)

    order = await trader.until_order(stop, "filled")
    assert (order["trigger_price"], order["stop_price"], order["watermark"]) == (51_000, 51_000, 52_000)


async def test_exits_are_attached_and_amended_while_halted(
    trader: Trader, market: HandMarket, operator: Operator
) -> None:
    held = await trader.open()
    await operator.set("user", trader.person.id, "halted")

    body = {"trade_id": held["trade_id"], "order_type": "STOP_LOSS", "stop_price": 48_000}
    attached = await trader.send("POST", "/orders", body)
    assert attached.status_code == 201, attached.text
    amended = await trader.send("PATCH", f"/orders/{attached.json()['id']}", {"stop_price": 48_500})
    assert (amended.status_code, amended.json()["stop_price"]) == (200, 48_500)


async def test_what_is_left_of_every_limit(trader: Trader, operator: Operator) -> None:
    await trader.open(stop_price=48_000)
    await trader.open(**LIMIT, collateral=50, leverage=2)

    answer = await trader.client.get(f"{API}/limits", headers=trader.person.headers)

    assert answer.status_code == 200, answer.text
    (venue,) = answer.json()["venues"]
    assert (venue["venue"], venue["state"], venue["reason"]) == ("paper", "active", None)
    assert venue["open_trades"] == {"max": 3, "current": 2, "left": 1}
    assert venue["open_orders"] == {"max": 6, "current": 2, "left": 4}
    assert (venue["notional"]["max"], venue["notional"]["left"]) == (None, None)
    assert 1_099 < venue["notional"]["current"] < 1_101
    rates = {rate["name"]: rate for rate in answer.json()["rate_limits"]}
    assert (rates["trade"]["per_minute"], rates["trade"]["remaining"] in {28, 29}) == (30, True)
    assert rates["default"] == {"name": "default", "per_minute": 0, "remaining": None, "full_in_seconds": 0}

    await operator.set("user", trader.person.id, "reducing")
    (venue,) = (await trader.client.get(f"{API}/limits", headers=trader.person.headers)).json()["venues"]
    assert (venue["state"], venue["reason"]) == ("reducing", "a drill")


async def test_beyond_a_cap_nothing_is_opened(trader: Trader) -> None:
    for _ in range(3):
        await trader.open()

    details = refusal(await trader.ask_open(), 409, "LIMIT_EXCEEDED")
    preview = await trader.send("POST", "/preview", {"asset": "BTC", "direction": True, "collateral": 1, "leverage": 1})

    assert details == {"limit": "open_trades", "max": 3, "current": 3}
    assert [(told["code"], told["details"]["limit"]) for told in preview.json()["refusals"]] == [
        ("LIMIT_EXCEEDED", "open_trades")
    ]


async def test_beyond_the_cap_of_orders_no_exit_is_attached(trader: Trader) -> None:
    held = await trader.open()
    body = {"trade_id": held["trade_id"], "order_type": "STOP_LOSS", "stop_price": 48_000}
    for _ in range(6):
        assert (await trader.send("POST", "/orders", body)).status_code == 201

    details = refusal(await trader.send("POST", "/orders", body), 409, "LIMIT_EXCEEDED")

    assert details == {"limit": "open_orders", "max": 6, "current": 6}


async def test_the_dead_mans_switch_is_armed_told_and_disarmed(trader: Trader) -> None:
    path = "/cancel-all-after"
    assert await trader.read(path) == {"armed": False, "fires_at": None, "scope": "entries", "firing": False}

    armed = await trader.send("POST", path, {"timeout_seconds": 60, "scope": "all"})
    assert armed.status_code == 200, armed.text
    assert (armed.json()["armed"], armed.json()["scope"]) == (True, "all")
    assert await trader.read(path) == armed.json()
    off = await trader.send("POST", path, {"timeout_seconds": 0})
    assert off.json() == {"armed": False, "fires_at": None, "scope": "entries", "firing": False}
    for wrong in ({}, {"timeout_seconds": -1}, {"timeout_seconds": 86_401}, {"timeout_seconds": 1.5}):
        refusal(await trader.send("POST", path, wrong), 400, "VALIDATION_ERROR")


async def test_the_dead_mans_switch_fires(trader: Trader) -> None:
    held, resting = await trader.open(stop_price=48_000), await trader.open(**LIMIT)

    await trader.send("POST", "/cancel-all-after", {"timeout_seconds": 1})

    order = await trader.until_order(resting["order_id"], "cancelled")
    assert order["reason"] == "cancel_all_after"
    assert (await trader.order(held["exit_order_ids"][0]))["status"] == "pending"
    await until(lambda: is_disarmed(trader))


async def is_disarmed(trader: Trader) -> bool:
    told = await trader.read("/cancel-all-after")
    return not (told["armed"] or told["firing"])


async def until_event(trader: Trader, event: str) -> None:
    async def has_come() -> bool:
        return event in await trader.events()

    await until(has_come)
