"""The shortcut for plain price requests: nothing but time tells it from the declared way."""

import httpx2
import orjson
import pytest

from app.bootstrap import Container
from app.config.settings import Settings
from app.domain.routing import RoutingRules
from app.services.ready_prices import MOST_NAMES, ReadyPrices
from tests.conftest import MakeSettings
from tests.factories import Person
from tests.waiting import until

ROWS = "ts_ms,bid,ask\n0,61685.99,61686.00\n"
PLAIN = "/api/v1/prices/BTCUSDT"
LIMIT = 50


@pytest.fixture(scope="module")
def settings(make_settings: MakeSettings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    path = tmp_path_factory.mktemp("recordings") / "btc.csv"
    path.write_text(ROWS)
    return make_settings(
        paper_feed="replay",
        paper_replay=[f"BTCUSDT={path}"],
        rate_limit_price=LIMIT,
        trusted_hosts=["127.0.0.1", "*.example.com"],
        cors_origins=["https://app.example.com"],
    )


@pytest.fixture
async def priced(client: httpx2.AsyncClient, container: Container) -> httpx2.AsyncClient:
    """A client of a server that has a closed market, so that every answer is alike but for its age."""
    pair = container.directory.resolve_pair("BTC", "paper")

    def is_closed() -> bool:
        quote = container.board.latest(pair.id)
        return quote is not None and not quote.market.is_open

    await until(is_closed)
    return client


def told(answer: httpx2.Response) -> tuple[int, dict[str, object], set[str]]:
    """What must be the same whichever way was taken."""
    return answer.status_code, {**answer.json(), "age_ms": 0}, set(answer.headers) - {"date"}


async def test_the_second_plain_request_is_short_and_answered_like_the_first(
    priced: httpx2.AsyncClient, container: Container, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = 0
    make_body = container.ready_prices.body

    def counted(*arguments: object, **named: object) -> bytes | None:
        nonlocal bodies
        bodies += not named
        return make_body(*arguments, **named)  # type: ignore[arg-type]

    container.router.rules = RoutingRules("paper")
    monkeypatch.setattr(container.ready_prices, "body", counted)
    declared = await priced.get(PLAIN)
    assert bodies == 0
    short = await priced.get(PLAIN)
    assert bodies == 1
    assert told(short) == told(declared)
    assert short.headers["content-type"] == declared.headers["content-type"]
    assert short.headers["x-request-id"] != declared.headers["x-request-id"]
    for headers in (
        user.headers,
        {"Accept": "application/json; numbers=string"},
        {"Origin": "https://app.example.com"},
    ):
        await priced.get(PLAIN, headers=headers)
    await priced.get(f"{PLAIN}?use_cache=true")
    assert bodies == 1


async def test_what_changes_the_answer_is_heard(priced: httpx2.AsyncClient) -> None:
    await priced.get(PLAIN)
    text = await priced.get(PLAIN, headers={"Accept": "application/json; numbers=string"})
    assert text.json()["bid"] == "61685.99"
    crossed = await priced.get(PLAIN, headers={"Origin": "https://app.example.com"})
    assert crossed.headers["access-control-allow-origin"] == "https://app.example.com"
    assert (await priced.get(PLAIN, headers={"Authorization": "Bearer nonsense"})).status_code == 401
    assert (await priced.get(PLAIN, headers={"Host": "evil.example.org"})).status_code == 400
    assert (await priced.get(PLAIN, headers={"Host": "api.example.com:8000"})).status_code == 200
    assert (await priced.post(PLAIN)).status_code == 405
    assert (await priced.request("GET", PLAIN, content=b"x" * 100_000)).status_code == 413


async def test_ids_and_figures_are_those_of_every_request(priced: httpx2.AsyncClient) -> None:
    await priced.get(PLAIN)
    answer = await priced.get(PLAIN, headers={"X-Request-ID": "my-own-request-1"})
    assert answer.headers["x-request-id"] == "my-own-request-1"
    assert (await priced.get(PLAIN, headers={"X-Request-ID": "bad id"})).headers["x-request-id"].startswith("req_")
    figures = (await priced.get("/metrics")).text
    wanted = 'method="GET",route="/api/v1/prices/{pair}",status="200"'
    line = next(line for line in figures.splitlines() if wanted in line)
    assert float(line.split()[-1]) >= 3


async def test_names_are_forgotten_with_new_rules_and_never_many(
    priced: httpx2.AsyncClient, container: Container
) -> None:
    prices = ReadyPrices(container.directory, container.board, container.router, container.clock)
    pair = await prices.find("BTC", sandbox=False)
    assert prices.remembered("BTC") is pair
    await prices.find("btc", sandbox=True)
    assert prices.remembered("btc") is None
    container.router.rules = RoutingRules("paper")
    assert prices.remembered("BTC") is None
    for number in range(MOST_NAMES + 1):
        await prices.find("B" + "-" * (number % 30) + "TC" + "/" * (number // 30), sandbox=False)
    assert prices.remembered("BTC") is None
    assert prices.remembered("B" + "-" * (MOST_NAMES % 30) + "TC" + "/" * (MOST_NAMES // 30)) is pair


async def test_the_limit_counts_both_ways_and_refuses_in_the_declared_one(priced: httpx2.AsyncClient) -> None:
    answers = [await priced.get(PLAIN)]
    # The bucket fills a little meanwhile.
    while answers[-1].status_code == 200 and len(answers) < 2 * LIMIT:
        answers.append(await priced.get(PLAIN))
    *granted, refused = answers
    left = [int(answer.headers["x-ratelimit-remaining"]) for answer in granted]
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0
    assert (refused.status_code, orjson.loads(refused.content)["error"]["code"]) == (429, "RATE_LIMITED")
    assert int(refused.headers["retry-after"]) >= 1
