"""Idempotency-Key and client_order_id: one request is one effect, however often it comes."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import text

from app.bootstrap import Container
from tests.integration.api.trading.market import BTC, TRADING, HandMarket, Trader, refusal
from tests.waiting import until

REPLAYED = "idempotency-replayed"


async def change(container: Container, statement: str, **values: object) -> None:
    """Change rows as a crash would have left them."""
    async with container.database.session() as session, session.begin():
        await session.execute(text(statement), values)


async def trades_of(trader: Trader) -> int:
    return len((await trader.read("/trades"))["trades"])


async def test_the_first_answer_is_repeated_byte_for_byte(trader: Trader, market: HandMarket) -> None:
    first = await trader.send("POST", "/trades", BTC, key="open-1")
    await market.at(51_000)
    again = await trader.send("POST", "/trades", BTC, key="open-1")

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert (first.headers.get(REPLAYED), again.headers[REPLAYED]) == (None, "true")
    assert await trades_of(trader) == 1


async def test_it_is_repeated_even_when_the_market_would_refuse_it_now(trader: Trader, market: HandMarket) -> None:
    body = {**BTC, "order_type": "STOP_LOSS", "stop_price": 48_000}
    first = await trader.send("POST", "/trades", body, key="protected")
    await market.at(47_000)

    assert (await trader.send("POST", "/trades", body, key="protected")).content == first.content


async def test_spelling_and_order_of_the_json_do_not_matter(trader: Trader) -> None:
    first = await trader.send("POST", "/trades", BTC, key="spelled")
    spelled = b'{"leverage": 10, "asset":"BTC",\n "direction":true, "collateral": 100}'
    headers = {**trader.person.headers, "Content-Type": "application/json", "Idempotency-Key": '"spelled"'}
    again = await trader.client.post(f"{TRADING}/trades", content=spelled, headers=headers)

    assert again.content == first.content


async def test_a_refusal_of_the_venue_is_repeated_byte_for_byte(trader: Trader) -> None:
    body = {**BTC, "collateral": 9999, "leverage": 50}
    first = await trader.send("POST", "/trades", body, key="poor")
    refusal(first, 400, "INSUFFICIENT_BALANCE")
    again = await trader.send("POST", "/trades", body, key="poor")

    assert (again.status_code, again.content, again.headers[REPLAYED]) == (400, first.content, "true")
    assert await trades_of(trader) == 1


async def test_a_refusal_before_anything_was_written_forgets_the_key(trader: Trader, market: HandMarket) -> None:
    wrong = {**BTC, "stop_price": 51_000}
    refusal(await trader.send("POST", "/trades", wrong, key="typo"), 400, "STOP_WRONG_SIDE")
    refusal(await trader.send("POST", "/trades", {**BTC, "asset": "ETH"}, key="typo"), 503, "PRICE_STALE")

    mended = await trader.send("POST", "/trades", {**BTC, "stop_price": 49_000}, key="typo")
    assert mended.status_code == 201, mended.text


async def test_another_request_with_the_key_is_refused(trader: Trader) -> None:
    opened = (await trader.send("POST", "/trades", BTC, key="once")).json()

    refusal(await trader.send("POST", "/trades", {**BTC, "collateral": 101}, key="once"), 422, "IDEMPOTENCY_KEY_REUSED")
    refusal(await trader.close(opened, key="once"), 422, "IDEMPOTENCY_KEY_REUSED")
    assert (await trader.trade(opened))["status"] == "open"


async def test_keys_are_each_users_own(trader: Trader, other_trader: Trader) -> None:
    mine = await trader.send("POST", "/trades", BTC, key="shared")
    theirs = await other_trader.send("POST", "/trades", BTC, key="shared")

    assert theirs.status_code == 201
    assert mine.json()["order_id"] != theirs.json()["order_id"]


async def test_of_twenty_at_once_one_trades(trader: Trader) -> None:
    answers = await asyncio.gather(*(trader.send("POST", "/trades", BTC, key="burst") for _ in range(20)))

    opened = {answer.content for answer in answers if answer.status_code == 201}
    assert len(opened) == 1
    for answer in answers:
        if answer.status_code != 201:
            refusal(answer, 409, "IDEMPOTENCY_IN_FLIGHT")
            assert int(answer.headers["retry-after"]) >= 1
    assert await trades_of(trader) == 1
    assert (await trader.send("POST", "/trades", BTC, key="burst")).content in opened


async def test_while_the_first_runs_others_wait_their_turn(trader: Trader, container: Container) -> None:
    await trader.open()
    async with container.uow() as work:
        # Who has this row holds up whoever wants to write an order.
        await work.venue_accounts.ensure_locked(trader.person.id, "paper")
        first = asyncio.create_task(trader.send("POST", "/trades", BTC, key="slow"))

        async def is_claimed() -> bool:
            async with container.uow() as reading:
                return await reading.idempotency.of_key(trader.person.id, "slow") is not None

        await until(is_claimed)
        refusal(await trader.send("POST", "/trades", BTC, key="slow"), 409, "IDEMPOTENCY_IN_FLIGHT")
        other = await trader.send("POST", "/trades", {**BTC, "collateral": 101}, key="slow")
        refusal(other, 422, "IDEMPOTENCY_KEY_REUSED")
    assert (await first).status_code == 201
    again = await trader.send("POST", "/trades", BTC, key="slow")
    assert again.content == (await first).content


async def test_a_close_is_repeated_and_hits_no_newer_trade(trader: Trader) -> None:
    opened = await trader.open()
    first = await trader.close(opened, key="close-1")
    newer = await trader.open()

    again = await trader.close(opened, key="close-1")

    assert (again.status_code, again.content, again.headers[REPLAYED]) == (200, first.content, "true")
    assert (await trader.trade(newer))["status"] == "open"
    refusal(await trader.close(opened), 404, "TRADE_NOT_FOUND")


async def test_a_part_is_closed_once(trader: Trader) -> None:
    opened = await trader.open()
    for _ in range(3):
        answer = await trader.close(opened, "?fraction=0.5", key="half")
        assert answer.json()["status"] == "partially_closed"
    assert (await trader.trade(opened))["size"] == 0.01
    refusal(await trader.close(opened, "?fraction=0.25", key="half"), 422, "IDEMPOTENCY_KEY_REUSED")


async def test_of_twenty_closes_of_a_part_at_once_one_closes(trader: Trader) -> None:
    opened = await trader.open()

    answers = await asyncio.gather(*(trader.close(opened, "?fraction=0.5", key="halves") for _ in range(20)))

    told = {answer.content for answer in answers if answer.status_code == 200}
    assert len(told) == 1
    for answer in answers:
        if answer.status_code != 200:
            refusal(answer, 409, "IDEMPOTENCY_IN_FLIGHT")
    assert (await trader.trade(opened))["size"] == 0.01
    assert (await trader.close(opened, "?fraction=0.5", key="halves")).content in told


async def test_what_is_kept_of_a_request_holds_none_of_its_secrets(trader: Trader, container: Container) -> None:
    answer = await trader.send("POST", "/trades", BTC, key="kept")
    async with container.uow() as work:
        kept = await work.idempotency.of_key(trader.person.id, "kept")

    assert kept is not None
    assert (kept.response_body, len(kept.fingerprint)) == (answer.content, 64)
    for secret in (trader.person.access_token, trader.person.refresh_token, trader.person.password):
        assert secret.encode() not in (kept.response_body or b"") + kept.fingerprint.encode()


async def test_an_exit_is_attached_once(trader: Trader) -> None:
    opened = await trader.open()
    body = {"trade_id": opened["trade_id"], "order_type": "TRAILING_STOP", "trailing_stop_distance": 500}
    refusal(await trader.send("POST", "/orders", {**body, "stop_price": 48_000}, key="exit"), 400, "CONFLICTING_FIELDS")

    first = await trader.send("POST", "/orders", body, key="exit")
    await trader.close(opened)
    again = await trader.send("POST", "/orders", body, key="exit")

    assert (first.status_code, first.json()["stop_price"]) == (201, 49_500)
    assert (again.content, again.headers[REPLAYED]) == (first.content, "true")
    assert len((await trader.trade(opened))["orders"]) == 3


LOST_ANSWER = """
UPDATE idempotency_records SET response_status = NULL, response_body = NULL,
       locked_until = clock_timestamp() + make_interval(secs => :seconds)
 WHERE user_id = :user AND key = :key
"""


class TestCrash:
    """What the process that ran a request left behind when it died."""

    async def test_after_the_write_the_orders_state_is_told(self, trader: Trader, container: Container) -> None:
        first = await trader.send("POST", "/trades", BTC, key="died")
        values: dict[str, Any] = {"user": trader.person.id, "key": "died"}
        await change(container, LOST_ANSWER, seconds=60, **values)
        refusal(await trader.send("POST", "/trades", BTC, key="died"), 409, "IDEMPOTENCY_IN_FLIGHT")

        await change(container, LOST_ANSWER, seconds=-1, **values)
        told = await trader.send("POST", "/trades", BTC, key="died")

        assert (told.status_code, told.json()) == (201, first.json())
        assert await trades_of(trader) == 1
        again = await trader.send("POST", "/trades", BTC, key="died")
        assert (again.content, again.headers[REPLAYED]) == (told.content, "true")

    async def test_after_the_write_of_a_close_too(self, trader: Trader, container: Container) -> None:
        opened = await trader.open()
        first = await trader.close(opened, key="closing")
        await change(container, LOST_ANSWER, seconds=-1, user=trader.person.id, key="closing")

        told = await trader.close(opened, key="closing")

        assert (told.status_code, told.json()) == (200, first.json())

    async def test_before_the_write_the_request_runs_anew(self, trader: Trader, container: Container) -> None:
        await trader.send("POST", "/trades", BTC, key="early")
        lost = LOST_ANSWER.replace("SET", "SET order_id = NULL,")
        await change(container, lost, seconds=-1, user=trader.person.id, key="early")

        assert (await trader.send("POST", "/trades", BTC, key="early")).status_code == 201
        assert await trades_of(trader) == 2

    async def test_an_unknown_outcome_is_told_until_it_is_known(self, trader: Trader, container: Container) -> None:
        opened = (await trader.send("POST", "/trades", BTC, key="unknown")).json()
        await change(container, LOST_ANSWER, seconds=-1, user=trader.person.id, key="unknown")
        status = "UPDATE orders SET status = :status WHERE id = :id"
        await change(container, status, status="unknown", id=opened["order_id"])

        for _ in range(2):
            answer = await trader.send("POST", "/trades", BTC, key="unknown")
            details = refusal(answer, 504, "PROVIDER_TIMEOUT")
            assert details == {"order_id": opened["order_id"], "outcome": "unknown"}
            assert REPLAYED not in answer.headers

        await change(container, status, status="filled", id=opened["order_id"])
        told = await trader.send("POST", "/trades", BTC, key="unknown")
        assert (told.status_code, told.json()) == (201, opened)
        assert (await trader.send("POST", "/trades", BTC, key="unknown")).headers[REPLAYED] == "true"


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é", "a\tb"])
async def test_keys_are_plain_and_short(trader: Trader, key: str) -> None:
    headers = {b"Idempotency-Key": key.encode(), **{k.encode(): v.encode() for k, v in trader.person.headers.items()}}
    answer = await trader.client.post(f"{TRADING}/trades", json=BTC, headers=headers)
    refusal(answer, 400, "IDEMPOTENCY_KEY_INVALID")
    assert await trades_of(trader) == 0


@pytest.mark.parametrize("keys", [("one", "two"), ("one", "one"), ("one", "")])
async def test_a_request_has_one_key(trader: Trader, keys: tuple[str, str]) -> None:
    headers = [*trader.person.headers.items(), *(("Idempotency-Key", key) for key in keys)]
    answer = await trader.client.post(f"{TRADING}/trades", json=BTC, headers=headers)
    refusal(answer, 400, "IDEMPOTENCY_KEY_INVALID")
    assert await trades_of(trader) == 0


class TestClientOrderId:
    async def test_the_same_request_is_answered_with_its_order(self, trader: Trader, market: HandMarket) -> None:
        first = await trader.open(client_order_id="mine-1")
        await market.at(51_000)
        again = await trader.open(client_order_id="mine-1")

        assert again == first
        assert (await trader.order(first["order_id"]))["client_order_id"] == "mine-1"
        assert await trades_of(trader) == 1

    async def test_of_many_at_once_one_trades(self, trader: Trader) -> None:
        answers = await asyncio.gather(*(trader.ask_open(client_order_id="burst") for _ in range(8)))

        told = {json.loads(answer.content)["order_id"] for answer in answers if answer.status_code == 201}
        assert len(told) == 1
        assert {answer.status_code for answer in answers} <= {201, 409}
        assert await trades_of(trader) == 1

    async def test_another_request_under_it_is_refused(self, trader: Trader) -> None:
        first = await trader.open(client_order_id="mine")

        details = refusal(await trader.ask_open(client_order_id="mine", collateral=101), 409, "ALREADY_EXISTS")

        assert details == {"order_id": first["order_id"]}
        assert await trades_of(trader) == 1

    async def test_names_are_each_users_own(self, trader: Trader, other_trader: Trader) -> None:
        mine = await trader.open(client_order_id="same")
        theirs = await other_trader.open(client_order_id="same", collateral=101)
        assert mine["order_id"] != theirs["order_id"]
