"""What trading refuses: each with its own code, in the one envelope, and nothing is done."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from app.bootstrap import Container
from app.core.json import encode
from app.domain.enums import FeatureAccessLevel
from app.domain.prices import Market
from tests.integration.api.trading.market import BTC, OPEN, TRADING, HandMarket, Trader, refusal

JSON = {"Content-Type": "application/json"}


async def has_done_nothing(trader: Trader) -> bool:
    """Whether neither trade, order nor money moved."""
    lists = (await trader.read("/trades"))["trades"], (await trader.read("/orders"))["orders"]
    portfolio = await trader.read("/portfolio")
    return lists == ([], []) and (portfolio["balance"], portfolio["margin"]) == (10_000, 0)


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in BTC.items() if name not in names}


MALFORMED: list[tuple[str, dict[str, Any], str]] = [
    ("no asset", without("asset"), "body.asset"),
    ("no direction", without("direction"), "body.direction"),
    ("no collateral", without("collateral"), "body.collateral"),
    ("no leverage", without("leverage"), "body.leverage"),
    ("asset is a number", {**BTC, "asset": 1}, "body.asset"),
    ("asset is empty", {**BTC, "asset": ""}, "body.asset"),
    ("asset is long", {**BTC, "asset": "B" * 33}, "body.asset"),
    ("asset has NUL", {**BTC, "asset": "BTC\0"}, "body.asset"),
    ("direction is a word", {**BTC, "direction": "true"}, "body.direction"),
    ("direction is a number", {**BTC, "direction": 1}, "body.direction"),
    ("collateral is a flag", {**BTC, "collateral": True}, "body.collateral"),
    ("collateral is null", {**BTC, "collateral": None}, "body.collateral"),
    ("collateral is a list", {**BTC, "collateral": [1]}, "body.collateral"),
    ("collateral is a word", {**BTC, "collateral": "many"}, "body.collateral"),
    ("collateral is NaN in text", {**BTC, "collateral": "NaN"}, "body.collateral"),
    ("collateral is Infinity in text", {**BTC, "collateral": "Infinity"}, "body.collateral"),
    ("collateral has an exponent in text", {**BTC, "collateral": "1e2"}, "body.collateral"),
    ("collateral has spaces", {**BTC, "collateral": " 1"}, "body.collateral"),
    ("collateral has underscores", {**BTC, "collateral": "1_000"}, "body.collateral"),
    ("collateral is zero", {**BTC, "collateral": 0}, "body.collateral"),
    ("collateral is negative", {**BTC, "collateral": -1}, "body.collateral"),
    ("collateral is minus zero", {**BTC, "collateral": "-0"}, "body.collateral"),
    ("collateral has 19 decimals", {**BTC, "collateral": "0.1234567890123456789"}, "body.collateral"),
    ("collateral has 31 digits", {**BTC, "collateral": "1" * 31}, "body.collateral"),
    ("collateral cannot be stored", {**BTC, "collateral": "1" + "0" * 20}, "body.collateral"),
    ("leverage is a fraction", {**BTC, "leverage": Decimal("2.5")}, "body.leverage"),
    ("leverage is text", {**BTC, "leverage": "ten"}, "body.leverage"),
    ("leverage is a flag", {**BTC, "leverage": True}, "body.leverage"),
    ("leverage is zero", {**BTC, "leverage": 0}, "body.leverage"),
    ("leverage is negative", {**BTC, "leverage": -5}, "body.leverage"),
    ("order type is unknown", {**BTC, "order_type": "ICEBERG"}, "body.order_type"),
    ("order type is in lower case", {**BTC, "order_type": "market"}, "body.order_type"),
    ("price is negative", {**BTC, "order_type": "LIMIT", "price": -1}, "body.price"),
    ("stop is zero", {**BTC, "stop_price": 0}, "body.stop_price"),
    ("percentage is 100", {**BTC, "trailing_stop_percentage": 100}, "body.trailing_stop_percentage"),
    ("slippage is above one", {**BTC, "max_slippage": 2}, "body.max_slippage"),
    ("expiry has no zone", {**BTC, "expires_at": "2030-01-01T00:00:00"}, "body.expires_at"),
    ("expiry is no time", {**BTC, "expires_at": "tomorrow"}, "body.expires_at"),
    ("expiry is beyond all years", {**BTC, "expires_at": 10**18}, "body.expires_at"),
    ("client id has spaces", {**BTC, "client_order_id": "a b"}, "body.client_order_id"),
    ("client id is long", {**BTC, "client_order_id": "a" * 65}, "body.client_order_id"),
    ("asset type is negative", {**BTC, "asset_type": -1}, "body.asset_type"),
    ("a typo in a stop", {**BTC, "stop_prise": 48000}, "body.stop_prise"),
    ("a status from outside", {**BTC, "status": "open"}, "body.status"),
    ("somebody else's id", {**BTC, "user_id": 1}, "body.user_id"),
]


@pytest.mark.parametrize(("body", "field"), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED])
async def test_a_wrong_field_is_refused_by_name(trader: Trader, body: dict[str, Any], field: str) -> None:
    for path in ("/trades", "/preview"):
        errors = refusal(await trader.send("POST", path, body), 400, "VALIDATION_ERROR")["errors"]
        assert [error["field"] for error in errors] == [field]
        assert all(error["message"] for error in errors)
    assert await has_done_nothing(trader)


NOT_JSON = {
    "NaN": '{"collateral": NaN}',
    "Infinity": '{"collateral": Infinity}',
    "minus Infinity": '{"collateral": -Infinity}',
    "duplicate keys": '{"asset": "BTC", "asset": "ETH"}',
    "deep": '{"asset": ' + "[" * 5000 + "]" * 5000 + "}",
    "deep objects": '{"a":' * 2000 + "1" + "}" * 2000,
    "5000 digits": '{"collateral": ' + "1" * 5000 + "}",
    "a long fraction": '{"collateral": 0.' + "1" * 5000 + "}",
    "cut off": '{"asset": "BTC"',
    "two values": '{"asset": "BTC"} {}',
    "single quotes": "{'asset': 'BTC'}",
    "a comment": '{"asset": "BTC"} // long',
    "a raw newline": '{"asset": "B\nTC"}',
}


@pytest.mark.parametrize("text", NOT_JSON.values(), ids=NOT_JSON)
async def test_what_is_no_json_is_refused(trader: Trader, text: str) -> None:
    headers = {**trader.person.headers, **JSON}
    answer = await trader.client.post(f"{TRADING}/trades", content=text, headers=headers)
    assert refusal(answer, 400, "INVALID_JSON")["reason"]


async def test_bytes_that_are_no_text_are_refused(trader: Trader) -> None:
    for content in (b'{"asset": "\xff"}', b"\xfe\xff", b"\x1f\x8b\x08\x00"):
        headers = {**trader.person.headers, **JSON}
        answer = await trader.client.post(f"{TRADING}/trades", content=content, headers=headers)
        refusal(answer, 400, "INVALID_JSON")


@pytest.mark.parametrize("number", ["1e400", "1e-400", "1E+9999999", "1e30", str(2**70), "-1e400"])
@pytest.mark.parametrize("field", ["collateral", "leverage", "price", "asset_type"])
async def test_numbers_beyond_all_bounds_are_refused(trader: Trader, field: str, number: str) -> None:
    text = json.dumps({**BTC, field: "@"}).replace('"@"', number)
    headers = {**trader.person.headers, **JSON}
    answer = await trader.client.post(f"{TRADING}/trades", content=text, headers=headers)
    errors = refusal(answer, 400, "VALIDATION_ERROR")["errors"]
    assert [error["field"] for error in errors] == [f"body.{field}"]


@pytest.mark.parametrize("body", [[], "text", 5, None, [BTC]])
async def test_a_body_that_is_no_object_is_refused(trader: Trader, body: object) -> None:
    headers = {**trader.person.headers, **JSON}
    for content in (encode(body), b""):
        answer = await trader.client.post(f"{TRADING}/trades", content=content, headers=headers)
        details = refusal(answer, 400, "VALIDATION_ERROR")
        told = {error["message"] for error in details["errors"]}
        assert told <= {"Input should be a JSON object", "Field required"}, told


async def test_a_lone_surrogate_is_refused(trader: Trader) -> None:
    text = '{"asset": "\\ud800", "direction": true, "leverage": 10, "collateral": 1}'
    answer = await trader.client.post(f"{TRADING}/trades", content=text, headers={**trader.person.headers, **JSON})
    refusal(answer, 400, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {},
    ],
)
async def test_a_wrong_media_type_is_refused(trader: Trader, headers: dict[str, str]) -> None:
    answer = await trader.client.post(
        f"{TRADING}/trades", content=encode(BTC), headers={**trader.person.headers, **headers}
    )
    refusal(answer, 415, "UNSUPPORTED_MEDIA_TYPE")
    assert await has_done_nothing(trader)


async def test_a_body_of_two_megabytes_is_refused(trader: Trader) -> None:
    answer = await trader.send("POST", "/trades", {**BTC, "asset": "B" * 2_000_000})
    refusal(answer, 413, "PAYLOAD_TOO_LARGE")


SENSELESS: list[tuple[str, dict[str, Any], int, str]] = [
    ("an asset nobody trades", {"asset": "NOPE"}, 400, "UNSUPPORTED_ASSET"),
    ("a type that is not the asset's", {"asset_type": 1}, 400, "CONFLICTING_FIELDS"),
    ("leverage above the pair's", {"leverage": 51}, 400, "LEVERAGE_OUT_OF_RANGE"),
    ("more decimals than USDC has", {"collateral": Decimal("100.0000001")}, 400, "TOO_MANY_DECIMALS"),
    ("a price between the steps", {"order_type": "LIMIT", "price": Decimal("49000.001")}, 400, "TOO_MANY_DECIMALS"),
    ("a stop between the steps", {"stop_price": Decimal("48000.001")}, 400, "TOO_MANY_DECIMALS"),
    ("collateral below the minimum", {"collateral": Decimal("0.5")}, 400, "SIZE_BELOW_MINIMUM"),
    ("collateral above the maximum", {"collateral": 1_000_001}, 400, "SIZE_ABOVE_MAXIMUM"),
    ("a long's stop above", {"stop_price": 50_001}, 400, "STOP_WRONG_SIDE"),
    ("a long's stop at the price", {"stop_price": 50_000}, 400, "STOP_WRONG_SIDE"),
    ("a short's stop below", {"direction": False, "stop_price": 49_999}, 400, "STOP_WRONG_SIDE"),
    ("a long's target below", {"take_profit_price": 49_999}, 400, "TAKE_PROFIT_WRONG_SIDE"),
    ("a short's target above", {"direction": False, "take_profit_price": 50_001}, 400, "TAKE_PROFIT_WRONG_SIDE"),
    ("an OCO the wrong way round", {"oco_stop_price": 55_000, "oco_take_profit_price": 48_000}, 400, "STOP_WRONG_SIDE"),
    ("a trail as long as the price", {"trailing_stop_distance": 50_000}, 400, "STOP_WRONG_SIDE"),
    ("a long's stop beyond liquidation", {"stop_price": 45_000}, 400, "STOP_BEYOND_LIQUIDATION"),
    (
        "a short's stop beyond liquidation",
        {"direction": False, "stop_price": 55_000},
        400,
        "STOP_BEYOND_LIQUIDATION",
    ),
    (
        "a limit's stop above its price",
        {"order_type": "LIMIT", "price": 49_000, "stop_price": 49_500},
        400,
        "STOP_WRONG_SIDE",
    ),
    ("LIMIT without price", {"order_type": "LIMIT"}, 400, "MISSING_FIELD"),
    ("STOP_LOSS without stop", {"order_type": "STOP_LOSS"}, 400, "MISSING_FIELD"),
    ("TAKE_PROFIT without target", {"order_type": "TAKE_PROFIT", "stop_price": 48_000}, 400, "MISSING_FIELD"),
    ("TRAILING_STOP without trail", {"order_type": "TRAILING_STOP"}, 400, "MISSING_FIELD"),
    ("OCO with one leg", {"order_type": "OCO", "oco_stop_price": 48_000}, 400, "MISSING_FIELD"),
    ("two trails", {"trailing_stop_distance": 500, "trailing_stop_percentage": 2}, 400, "CONFLICTING_FIELDS"),
    (
        "a stop and an OCO",
        {"stop_price": 48_000, "oco_stop_price": 47_000, "oco_take_profit_price": 55_000},
        400,
        "CONFLICTING_FIELDS",
    ),
    ("slippage of a limit", {"order_type": "LIMIT", "price": 49_000, "max_slippage": 1}, 400, "CONFLICTING_FIELDS"),
    ("price of a market order", {"price": 49_000}, 400, "CONFLICTING_FIELDS"),
    ("expiry of a market order", {"expires_at": "2100-01-01T00:00:00Z"}, 400, "CONFLICTING_FIELDS"),
    ("a time that has passed", {"valid_until": "2020-01-01T00:00:00Z"}, 400, "EXPIRED_REQUEST"),
]


@pytest.mark.parametrize(
    ("fields", "status", "code"), [case[1:] for case in SENSELESS], ids=[case[0] for case in SENSELESS]
)
async def test_what_can_never_work_is_refused(trader: Trader, fields: dict[str, Any], status: int, code: str) -> None:
    refusal(await trader.ask_open(**fields), status, code)
    assert await has_done_nothing(trader)


async def test_the_catalogue_of_all_fields_at_once_is_no_request(trader: Trader) -> None:
    every_field = {
        "collateral": 1000.0,
        "leverage": 10,
        "asset_type": 0,
        "asset": "BTC",
        "direction": True,
        "order_type": "MARKET",
        "price": 45000.0,
        "stop_price": 40000.0,
        "take_profit_price": 50000.0,
        "trailing_stop_distance": 500.0,
        "trailing_stop_percentage": 2.0,
        "oco_stop_price": 40000.0,
        "oco_take_profit_price": 50000.0,
    }
    answer = await trader.send("POST", "/trades", every_field)
    details = refusal(answer, 400, "CONFLICTING_FIELDS")
    assert details["fields"] == ["trailing_stop_distance", "trailing_stop_percentage"]
    assert await has_done_nothing(trader)


async def test_a_direction_in_words_is_told_what_to_write(trader: Trader) -> None:
    (error,) = refusal(await trader.ask_open(direction="long"), 400, "VALIDATION_ERROR")["errors"]
    assert (error["field"], error["message"]) == ("body.direction", "true is long, false is short")


async def test_an_index_in_words_is_told_where_indexes_begin(trader: Trader) -> None:
    (error,) = refusal(await trader.send("GET", "/trades/1/first"), 400, "VALIDATION_ERROR")["errors"]
    assert error["message"] == "An index is a whole number from 0 to 2147483647"


async def test_a_sentence_promises_no_details_that_are_not_there(trader: Trader) -> None:
    for asset, has_near in (("BTCUSTD", True), ("QQQQQQQQ", False)):
        error = (await trader.ask_open(asset=asset)).json()["error"]
        assert error["code"] == "UNSUPPORTED_ASSET"
        assert bool(error["details"]["near"]) is ("details.near" in error["message"]) is has_near
    gone = await trader.send("DELETE", "/trades/1/77")
    assert refusal(gone, 404, "TRADE_NOT_FOUND") == {"pair_id": 1, "trade_index": 77}
    assert "details" not in gone.json()["error"]["message"]


async def test_refusals_say_what_would_do(trader: Trader) -> None:
    limits = refusal(await trader.ask_open(leverage=51), 400, "LEVERAGE_OUT_OF_RANGE")
    assert limits == {"min": 1, "max": 50}
    near = refusal(await trader.ask_open(asset="BTCUSTD"), 400, "UNSUPPORTED_ASSET")
    assert "BTCUSDT" in near["near"]
    step = refusal(await trader.ask_open(stop_price="48000.001"), 400, "TOO_MANY_DECIMALS")
    assert step == {"field": "stop_price", "step": 0.01}
    wrong = refusal(await trader.ask_open(stop_price=51000), 400, "STOP_WRONG_SIDE")
    assert wrong == {"reference_price": 50000}


async def test_who_has_too_little_is_told_what_is_free_and_what_is_needed(trader: Trader) -> None:
    opened = await trader.open(collateral=6000, leverage=1)

    details = refusal(await trader.ask_open(collateral=5000, leverage=2), 400, "INSUFFICIENT_BALANCE")

    free = (await trader.read("/portfolio"))["balance"]
    assert details["free"] == free
    # The collateral, and the fee of 0.05 % on twice as much.
    assert details["needed"] == 5005
    order = await trader.order(details["order_id"])
    assert (order["status"], order["reason"]) == ("rejected", "INSUFFICIENT_BALANCE")
    (failed, _) = (await trader.read("/trades"))["trades"]
    assert (failed["status"], failed["close_reason"]) == ("failed", "INSUFFICIENT_BALANCE")
    assert (await trader.trade(opened))["status"] == "open"


async def test_of_many_at_once_only_what_the_money_covers_opens(trader: Trader) -> None:
    answers = await asyncio.gather(*(trader.ask_open(collateral=6000, leverage=1) for _ in range(8)))

    assert [answer.status_code for answer in answers].count(201) == 1
    codes = {answer.json()["error"]["code"] for answer in answers if answer.status_code != 201}
    assert codes == {"INSUFFICIENT_BALANCE"}


async def test_a_market_that_moved_too_far_trades_nothing(trader: Trader) -> None:
    answer = await trader.ask_open(price=49_000, max_slippage=Decimal("0.001"))
    details = refusal(answer, 400, "SLIPPAGE_EXCEEDED")
    assert (details["price"], details["reference_price"], details["max_slippage"]) == (50000.5, 49_000, 0.001)


async def test_a_closed_market_takes_resting_orders_only(trader: Trader, market: HandMarket) -> None:
    monday = datetime(2030, 1, 7, tzinfo=UTC)
    opened = await trader.open(asset="EURUSD", stop_price="1.08")
    await market.turn("EURUSD", Market(is_open=False, next_open=monday))
    try:
        details = refusal(await trader.ask_open(asset="EURUSD"), 409, "MARKET_CLOSED")
        assert details == {"pair": "EURUSD", "next_open": "2030-01-07T00:00:00Z"}
        refusal(await trader.close(opened), 409, "MARKET_CLOSED")
        waits = await trader.open(asset="EURUSD", order_type="LIMIT", price=2)
        assert waits["status"] == "pending"
        assert (await trader.trade(opened))["status"] == "open"
    finally:
        await market.turn("EURUSD", OPEN)
    await market.quote(("1.10000", "1.10010"), symbol="EURUSD")
    assert (await trader.until_order(waits["order_id"], "filled"))["average_price"] <= 2
    assert (await trader.close(opened)).status_code == 200


async def test_a_pair_without_any_price_cannot_be_traded(trader: Trader) -> None:
    answer = await trader.ask_open(asset="ETH")
    refusal(answer, 503, "PRICE_STALE")
    assert int(answer.headers["retry-after"]) >= 1


BAD_IDS = ["0", "-1", str(2**63), str(2**70), "1e3", "1.0", "x", "%00", "1%202", "+1", "٣"]


@pytest.mark.parametrize("bad", BAD_IDS)
async def test_ids_that_cannot_be_are_refused(trader: Trader, bad: str) -> None:
    change = {"stop_price": 48_000}
    for method, path, body in (
        ("GET", f"/orders/{bad}", None),
        ("PATCH", f"/orders/{bad}", change),
        ("DELETE", f"/orders/{bad}", None),
        ("GET", f"/trades/{bad}/0", None),
        ("DELETE", f"/trades/{bad}/0", None),
        ("GET", f"/orders?trade_id={bad.replace('+', '%2B')}", None),
    ):
        refusal(await trader.send(method, path, body), 400, "VALIDATION_ERROR")


@pytest.mark.parametrize("index", ["-1", str(2**31), str(2**63), "1e3", "x"])
async def test_indexes_that_cannot_be_are_refused(trader: Trader, market: HandMarket, index: str) -> None:
    for method in ("GET", "DELETE"):
        refusal(await trader.send(method, f"/trades/{market.pair_id()}/{index}"), 400, "VALIDATION_ERROR")


@pytest.mark.parametrize("fraction", ["0", "-0.5", "1.01", "NaN", "x", "1e-1", ""])
async def test_a_part_is_above_nothing_and_at_most_all(trader: Trader, fraction: str) -> None:
    opened = await trader.open()
    refusal(await trader.close(opened, f"?fraction={fraction}"), 400, "VALIDATION_ERROR")
    assert (await trader.trade(opened))["status"] == "open"


async def test_a_misspelt_parameter_is_refused_by_name(trader: Trader) -> None:
    opened = await trader.open()
    for method, path, name in (
        ("DELETE", f"/trades/{opened['pair_id']}/0?fracton=0.5", "query.fracton"),
        ("GET", "/trades?staus=open", "query.staus"),
        ("GET", "/orders?limit=5&%0aid=1", "query.?id"),
        ("GET", "/pairs?catgory=forex", "query.catgory"),
    ):
        errors = refusal(await trader.send(method, path), 400, "VALIDATION_ERROR")["errors"]
        assert [error["field"] for error in errors] == [name]
    assert (await trader.trade(opened))["status"] == "open"


async def test_a_part_below_the_step_is_refused(trader: Trader) -> None:
    opened = await trader.open(collateral=1, leverage=1)
    refusal(await trader.close(opened, "?fraction=0.000001"), 400, "SIZE_BELOW_MINIMUM")
    assert (await trader.trade(opened))["status"] == "open"


type Spoil = Callable[[str], str]


def _unsigned(token: str) -> str:
    """The same claims, signed by nobody."""
    return "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0." + token.split(".")[1] + "."


FORGERIES: dict[str, Spoil] = {
    "alg none": _unsigned,
    "no signature": lambda token: token.rpartition(".")[0] + ".",
    "another signature": lambda token: token.rpartition(".")[0] + "." + "A" * 43,
    "one letter changed": lambda token: token[:40] + ("A" if token[40] != "A" else "B") + token[41:],
    "no token": lambda token: "",
    "not a token": lambda token: "x" * 100,
    "a huge token": lambda token: token + "A" * 12_000,
}


@pytest.mark.parametrize("spoil", FORGERIES.values(), ids=FORGERIES)
async def test_forged_tokens_open_no_route(trader: Trader, client: httpx2.AsyncClient, spoil: Spoil) -> None:
    headers = {"Authorization": f"Bearer {spoil(trader.person.access_token)}".strip()}
    for method, path, body in (
        ("POST", "/trades", BTC),
        ("POST", "/preview", BTC),
        ("DELETE", "/trades/1/0", None),
        ("GET", "/positions", None),
        ("GET", "/orders/1", None),
    ):
        answer = await client.request(method, TRADING + path, json=body, headers=headers)
        refusal(answer, 401, "UNAUTHORIZED")
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_refresh_token_is_no_access_token(trader: Trader, client: httpx2.AsyncClient) -> None:
    headers = {"Authorization": f"Bearer {trader.person.refresh_token}"}
    refusal(await client.post(f"{TRADING}/trades", json=BTC, headers=headers), 401, "UNAUTHORIZED")
    assert await has_done_nothing(trader)


async def test_who_may_only_read_cannot_trade(trader: Trader, container: Container) -> None:
    async with container.uow() as work:
        row = await work.users.get(trader.person.id)
        assert row is not None
        row.feature_access_level = FeatureAccessLevel.READ

    assert refusal(await trader.ask_open(), 403, "FEATURE_NOT_ENABLED") == {"feature": "trade"}
    assert (await trader.read("/portfolio"))["balance"] == 10_000
