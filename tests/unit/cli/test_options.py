"""Numbers, levels and names of trades as they are typed."""

from decimal import Decimal

import httpx2
import pytest
import typer

from app.cli.client import ApiClient
from app.cli.failure import Failure
from app.cli.naming import find_trade, with_pairs
from app.cli.options import decimal, fraction, levels, trailing
from tests.unit.cli.conftest import ScriptedServer, error

POSITIONS = {
    "positions": [
        {"trade_id": 7, "pair_id": 1, "trade_index": 3, "asset": "BTC", "pair": "BTCUSDT"},
        {"trade_id": 8, "pair_id": 2, "trade_index": 0, "asset": "ETH", "pair": "ETHUSDT"},
        {"trade_id": 9, "pair_id": 2, "trade_index": 1, "asset": "ETH", "pair": "ETHUSDT"},
    ]
}


@pytest.mark.parametrize(("text", "value"), [("100", "100"), ("0.25", "0.25"), (".5", "0.5"), ("007", "7")])
def test_decimal(text: str, value: str) -> None:
    assert decimal(text) == Decimal(value)


@pytest.mark.parametrize(
    "text", ["", "1e3", "-1", "+1", "1_000", "1,000", "NaN", "Infinity", "0x1", " 1", "1.", "\u0661"]
)
def test_not_a_decimal(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        decimal(text)


@pytest.mark.parametrize(("text", "value"), [("0.5", "0.5"), ("50%", "0.5"), ("0.1%", "0.001"), ("100%", "1")])
def test_fraction(text: str, value: str) -> None:
    assert fraction(text) == Decimal(value)


@pytest.mark.parametrize("text", ["%", "-5%", "half", "1e1%", "NaN%"])
def test_not_a_fraction(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        fraction(text)


def test_trailing_by_distance_or_percentage() -> None:
    assert trailing("500") == {"trailing_stop_distance": "500"}
    assert trailing("0.5%") == {"trailing_stop_percentage": "0.5"}


def test_levels_name_only_what_is_given() -> None:
    assert levels(None, None, None, None, None) == {}
    given = levels(Decimal("1.50"), Decimal(2), trailing("3%"), Decimal(4), Decimal(5))
    assert given == {
        "stop_price": "1.5",
        "take_profit_price": "2",
        "trailing_stop_percentage": "3",
        "oco_stop_price": "4",
        "oco_take_profit_price": "5",
    }


@pytest.mark.usefixtures("logged_in")
class TestNamingATrade:
    @pytest.fixture
    def client(self, server: ScriptedServer, store: object, logged_in: object, client: ApiClient) -> ApiClient:
        return client

    @pytest.mark.parametrize(
        ("words", "found"), [(["7"], (1, 3)), (["BTC"], (1, 3)), (["btcusdt"], (1, 3)), (["9"], (2, 1))]
    )
    def test_of_an_open_position(
        self, client: ApiClient, server: ScriptedServer, words: list[str], found: tuple[int, int]
    ) -> None:
        server.replies = [httpx2.Response(200, json=POSITIONS)]
        assert find_trade(client, words) == found

    def test_by_pair_and_index_needs_no_question(self, client: ApiClient, server: ScriptedServer) -> None:
        assert find_trade(client, ["4", "2"]) == (4, 2)
        assert server.asked == []

    def test_of_a_closed_trade_on_a_later_page(self, client: ApiClient, server: ScriptedServer) -> None:
        server.replies = [
            httpx2.Response(200, json=POSITIONS),
            httpx2.Response(200, json={"trades": [{"id": 6, "pair_id": 1, "trade_index": 2}], "next_cursor": "NQ"}),
            httpx2.Response(200, json={"trades": [{"id": 5, "pair_id": 1, "trade_index": 1}], "next_cursor": None}),
        ]
        assert find_trade(client, ["5"]) == (1, 1)
        assert server.asked[2].url.params["cursor"] == "NQ"

    @pytest.mark.parametrize(
        ("name", "code"), [("ETH", "TRADE_AMBIGUOUS"), ("SOL", "TRADE_NOT_FOUND"), ("77", "TRADE_NOT_FOUND")]
    )
    def test_unknown_or_ambiguous(self, client: ApiClient, server: ScriptedServer, name: str, code: str) -> None:
        server.replies = [
            httpx2.Response(200, json=POSITIONS),
            httpx2.Response(200, json={"trades": [], "next_cursor": None}),
        ]
        with pytest.raises(Failure) as caught:
            find_trade(client, [name])
        assert caught.value.code == code

    @pytest.mark.parametrize("words", [["1", "2", "3"], ["BTC", "ETH"], ["BTC", "1"]])
    def test_too_many_words(self, client: ApiClient, words: list[str]) -> None:
        with pytest.raises(typer.BadParameter):
            find_trade(client, words)


def test_rows_are_shown_with_their_pair_where_it_can_be_had(client: ApiClient, server: ScriptedServer) -> None:
    rows = [{"pair_id": 6, "asset": "USD"}, {"pair_id": 99, "asset": "GONE"}]
    server.replies = [httpx2.Response(200, json={"pairs": [{"id": 6, "symbol": "USDJPY"}]}), error(429, "RATE_LIMITED")]
    assert [row["pair"] for row in with_pairs(client, rows)] == ["USDJPY", "GONE"]
    assert [row["pair"] for row in with_pairs(client, rows)] == ["USD", "GONE"]
