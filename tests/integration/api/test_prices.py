"""Prices, candles, pairs and routes over HTTP, on a short recording that has come to its end."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import orjson
import pytest

from app.bootstrap import Container
from app.config.settings import Settings
from app.domain.routing import parse_rules
from app.models.user import User
from tests.conftest import MakeSettings
from tests.factories import Person
from tests.waiting import until

BTC_ROWS = "ts_ms,bid,ask\n0,61685.99,61686.00\n200,61686.01,61686.02\n400,61685.98,61686.03\n"
EUR_ROWS = "ts_ms,bid,ask\n0,1.37551,1.37561\n600,1.37549,1.37558\n"
SEED_FIELDS = {"price", "timestamp", "source", "asset", "quote"}
OTHER_FIELDS = {"pair", "bid", "ask", "received_at", "age_ms", "stale", "market_open", "next_open", "sequence"}


@pytest.fixture(scope="module")
def settings(make_settings: MakeSettings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "btc.csv").write_text(BTC_ROWS)
    (folder / "eur.csv").write_text(EUR_ROWS)
    return make_settings(
        paper_feed="replay",
        paper_replay=[f"BTCUSDT={folder}/btc.csv", f"EUR-USD={folder}/eur.csv"],
        paper_replay_speed=10,
    )


@pytest.fixture
async def ended(client: httpx2.AsyncClient, container: Container) -> httpx2.AsyncClient:
    """A client, once both files have been played to their end."""

    def both_closed() -> bool:
        quotes = [container.board.latest(container.directory.resolve_pair(name, "paper").id) for name in ("BTC", "EUR")]
        return all(quote is not None and not quote.market.is_open for quote in quotes)

    await until(both_closed)
    return client


async def test_a_price_has_the_seeds_fields_and_what_a_trader_needs(ended: httpx2.AsyncClient) -> None:
    answer = await ended.get("/api/v1/prices/BTCUSDT")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    shown = answer.json()
    assert shown.keys() == SEED_FIELDS | OTHER_FIELDS
    facts = {name: shown[name] for name in ("pair", "asset", "quote", "source", "stale", "market_open", "next_open")}
    assert facts == {
        "pair": "BTCUSDT",
        "asset": "BTC",
        "quote": "USD",
        "source": "paper",
        "stale": False,
        "market_open": False,
        "next_open": None,
    }
    assert b'"price":61686.005,' in answer.content
    assert (shown["bid"], shown["ask"]) == (61685.98, 61686.03)
    assert shown["timestamp"].endswith("Z")
    assert shown["age_ms"] >= 0


async def test_numbers_come_as_strings_when_asked_for(ended: httpx2.AsyncClient) -> None:
    answer = await ended.get("/api/v1/prices/BTCUSDT", headers={"Accept": "application/json; numbers=string"})
    shown = answer.json()
    assert (shown["price"], shown["bid"], shown["ask"]) == ("61686.005", "61685.98", "61686.03")
    assert isinstance(shown["sequence"], int)


@pytest.mark.parametrize("name", ["btcusdt", "BTC-USD", "btc-usdt", "BTC%2FUSD", "btc/usd", "BTC", "xbtusd"])
async def test_a_pair_is_read_kindly(ended: httpx2.AsyncClient, name: str) -> None:
    answer = await ended.get(f"/api/v1/prices/{name}?use_cache=false")
    assert (answer.status_code, answer.json().get("pair")) == (200, "BTCUSDT")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("BTCUSTD", 404, "PAIR_NOT_FOUND"),
        ("%F0%9F%98%80", 404, "PAIR_NOT_FOUND"),
        ("%FF", 404, "PAIR_NOT_FOUND"),
        ("BTC%00", 400, "VALIDATION_ERROR"),
        ("B" * 41, 400, "VALIDATION_ERROR"),
        ("BTC?use_cache=perhaps", 400, "VALIDATION_ERROR"),
        ("GBPUSD", 503, "PRICE_STALE"),
        ("BTC/candles?interval=7m", 400, "VALIDATION_ERROR"),
        ("BTC/candles?limit=0", 400, "VALIDATION_ERROR"),
        ("BTC/candles?limit=1001", 400, "VALIDATION_ERROR"),
        ("BTC/candles?start=2026-01-05T12:00:00", 400, "VALIDATION_ERROR"),
        ("BTC/candles?start=2026-01-05T12:00:00Z&end=2026-01-05T11:59:59Z", 400, "VALIDATION_ERROR"),
        ("NOPE/candles", 404, "PAIR_NOT_FOUND"),
        ("BTC/USD/TWICE", 404, "NOT_FOUND"),
        ("", 404, "NOT_FOUND"),
        ("BTC/EUR", 404, "PAIR_NOT_FOUND"),
    ],
)
async def test_what_cannot_be_answered_is_named(ended: httpx2.AsyncClient, path: str, status: int, code: str) -> None:
    answer = await ended.get(f"/api/v1/prices/{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    if code == "PAIR_NOT_FOUND" and path == "BTCUSTD":
        assert answer.json()["error"]["details"]["near"][0] == "BTCUSDT"
    if status == 503:
        assert answer.headers["retry-after"] == "1"


async def test_a_wrong_token_is_refused_although_none_is_needed(ended: httpx2.AsyncClient, user: Person) -> None:
    wrong = await ended.get("/api/v1/prices/BTC", headers={"Authorization": "Bearer nonsense"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "UNAUTHORIZED")
    assert wrong.headers["www-authenticate"] == "Bearer"
    assert (await ended.get("/api/v1/prices/BTC", headers=user.headers)).status_code == 200


async def test_many_prices_come_in_the_order_asked_with_errors_beside_them(ended: httpx2.AsyncClient) -> None:
    answer = await ended.get("/api/v1/prices?pairs=eur-usd,NOPE,BTC,GBPUSD,%20BTC%20,&use_cache=true")
    assert answer.status_code == 200
    assert [price["pair"] for price in answer.json()["prices"]] == ["EURUSD", "BTCUSDT"]
    assert answer.json()["errors"] == [
        {"pair": "NOPE", "code": "PAIR_NOT_FOUND"},
        {"pair": "GBPUSD", "code": "PRICE_STALE"},
    ]
    alone = (await ended.get("/api/v1/prices/EURUSD")).json()
    listed = answer.json()["prices"][0]
    assert alone.keys() == listed.keys()
    assert {**alone, "age_ms": 0} == {**listed, "age_ms": 0}


@pytest.mark.parametrize("query", ["", "?pairs=", "?pairs=,,", "?pairs=" + ",".join(f"P{n}" for n in range(101))])
async def test_one_to_a_hundred_pairs_are_asked_for(ended: httpx2.AsyncClient, query: str) -> None:
    answer = await ended.get(f"/api/v1/prices{query}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert answer.json()["error"]["details"]["errors"][0]["field"] == "query.pairs"


async def test_a_hundred_pairs_are_answered(ended: httpx2.AsyncClient) -> None:
    answer = await ended.get("/api/v1/prices", params={"pairs": ",".join(f"P{n}" for n in range(100))})
    assert (answer.status_code, len(answer.json()["errors"])) == (200, 100)


async def test_candles_hold_the_marks_of_their_minutes(ended: httpx2.AsyncClient) -> None:
    found: list[dict[str, Any]] = []

    async def two_ticks() -> bool:
        answer = await ended.get("/api/v1/prices/eurusd/candles?interval=1h&limit=3")
        assert answer.status_code == 200
        assert (answer.json()["pair"], answer.json()["interval"]) == ("EURUSD", "1h")
        found.clear()
        found.extend(answer.json()["candles"])
        return bool(sum(candle["ticks"] for candle in found) == 2)

    question: Callable[[], bool | Awaitable[bool]] = two_ticks
    await until(question)
    assert found[0].keys() == {"opened_at", "open", "high", "low", "close", "ticks"}
    assert (found[0]["open"], found[-1]["close"]) == (1.37556, 1.375535)


@pytest.mark.parametrize(
    "query",
    ["start=1000-01-01T00:00:00Z", "end=9999-12-31T23:59:59Z", "start=9999-12-31T23:59:59%2B14:00", "limit=1000"],
)
async def test_instants_far_away_are_no_fault(ended: httpx2.AsyncClient, query: str) -> None:
    answer = await ended.get(f"/api/v1/prices/BTC/candles?{query}")
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "prices?pairs=BTC&from=1",
        "prices/BTC?from=1",
        "prices/BTC/USD?from=1",
        "prices/BTC/candles?from=1",
        "routing/explain?asset=BTC&from=1",
    ],
)
async def test_an_unknown_parameter_is_refused_by_name(ended: httpx2.AsyncClient, path: str) -> None:
    answer = await ended.get(f"/api/v1/{path}")
    assert answer.status_code == 400
    (error,) = answer.json()["error"]["details"]["errors"]
    assert (error["field"], error["code"]) == ("query.from", "extra_forbidden")


async def test_pairs_are_listed_and_an_unchanged_list_is_not_sent_again(ended: httpx2.AsyncClient) -> None:
    answer = await ended.get("/api/v1/trading/pairs")
    pairs = {pair["symbol"]: pair for pair in answer.json()["pairs"]}
    assert pairs["BTCUSDT"]["quote"] == "USD"
    assert pairs["XAUUSD"]["asset_type"] == 2
    assert b'"size_step":0.000001,' in answer.content
    for named in (answer.headers["etag"], f'"other", W/{answer.headers["etag"]}', "*"):
        again = await ended.get("/api/v1/trading/pairs", headers={"If-None-Match": named})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == answer.headers["etag"]
    other = await ended.get("/api/v1/trading/pairs?category=forex", headers={"If-None-Match": answer.headers["etag"]})
    assert [pair["symbol"] for pair in other.json()["pairs"]] == ["EURUSD", "GBPUSD", "USDJPY"]
    assert (await ended.get("/api/v1/trading/pairs?venue=lighter")).json() == {"pairs": []}
    refused = await ended.get("/api/v1/trading/pairs?category=shells")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "VALIDATION_ERROR")


async def test_a_route_is_explained_by_the_rule_that_decided(
    ended: httpx2.AsyncClient, container: Container, user: Person
) -> None:
    before = container.router.rules
    container.router.rules = parse_rules("paper", ["XAU=paper"], ["forex=paper"])
    try:
        answers = {
            name: await ended.get(f"/api/v1/routing/explain?asset={name}") for name in ("gold", "eur", "BTC", "X")
        }
        async with container.uow() as work:
            row = await work.session.get_one(User, user.id)
            row.is_sandbox = True
        sandbox = await ended.get("/api/v1/routing/explain?asset=gold", headers=user.headers)
    finally:
        container.router.rules = before
    told = [(a.json()["symbol"], a.json()["reason"], a.json()["rule"]) for name, a in answers.items() if name != "X"]
    assert told == [
        ("XAUUSD", "asset", "XAU=paper"),
        ("EURUSD", "category", "forex=paper"),
        ("BTCUSDT", "default", None),
    ]
    assert (answers["X"].status_code, answers["X"].json()["error"]["code"]) == (400, "UNSUPPORTED_ASSET")
    assert (sandbox.json()["venue"], sandbox.json()["reason"]) == ("paper", "sandbox")


async def test_the_document_shows_the_answers_that_are_sent_ready(ended: httpx2.AsyncClient) -> None:
    document = orjson.loads((await ended.get("/openapi.json")).content)
    for path, schema in (("/api/v1/prices/{pair}", "PriceResponse"), ("/api/v1/trading/pairs", "PairList")):
        content = document["paths"][path]["get"]["responses"]["200"]["content"]
        assert content["application/json"]["schema"] == {"$ref": f"#/components/schemas/{schema}"}
    price = document["components"]["schemas"]["PriceResponse"]
    assert set(price["required"]) == SEED_FIELDS | OTHER_FIELDS
    assert price["properties"]["price"]["type"] == "number"
