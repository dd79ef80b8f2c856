"""Which pair a text means."""

from dataclasses import dataclass

import pytest

from app.domain.assets import LONGEST_SYMBOL, SymbolTable, normalise


@dataclass(frozen=True)
class ListedPair:
    symbol: str
    base: str
    quote: str
    aliases: tuple[str, ...] = ()


PAIRS = {
    1: ListedPair("BTCUSDT", "BTC", "USD", ("XBTUSD",)),
    2: ListedPair("EURUSD", "EUR", "USD"),
    3: ListedPair("EURGBP", "EUR", "GBP"),
    4: ListedPair("SPX500", "SPX", "USD", ("US500", "SP500")),
}


@pytest.fixture
def table() -> SymbolTable[int]:
    return SymbolTable(PAIRS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BTCUSDT", [1]),
        ("btcusdt", [1]),
        ("BTC-USD", [1]),
        ("BTC/USD", [1]),
        ("btc_usd", [1]),
        (" btcusd ", [1]),
        ("BTC", [1]),
        ("xbtusd", [1]),
        ("SPXUSD", [4]),
        ("us500", [4]),
        ("SPX", [4]),
        ("EURUSD", [2]),
        ("EUR", [2, 3]),
        ("USD", []),
        ("", []),
        ("BTCUSDC", []),
        ("BTCUSDT0", []),
        ("b" * 10_000, []),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER B}TC", []),
    ],
)
def test_a_text_means_the_pairs_the_table_names(table: SymbolTable[int], text: str, expected: list[int]) -> None:
    found = table.find(text)
    assert sorted(found) == expected


def test_a_symbol_wins_over_another_pairs_alias_whatever_their_order() -> None:
    own, other = ListedPair("GOLD", "GLD", "USD"), ListedPair("XAUUSD", "XAU", "USD", ("GOLD",))
    assert SymbolTable({1: own, 2: other}).find("gold") == [1]
    assert SymbolTable({2: other, 1: own}).find("gold") == [1]


def test_base_and_quote_win_over_an_alias() -> None:
    own, other = ListedPair("A1", "AAA", "USD"), ListedPair("A0", "BBB", "USD", ("AAAUSD",))
    assert SymbolTable({1: own, 2: other}).find("AAA-USD") == [1]


def test_an_inactive_pair_keeps_its_symbol_but_lends_no_base() -> None:
    table = SymbolTable({1: ListedPair("BTCUSDT", "BTC", "USD")}, {2: ListedPair("BTCEUR", "BTC", "EUR")})
    assert table.find("BTC") == [1]
    assert table.find("BTC/EUR") == [2]


def test_an_active_pair_has_a_shared_name_before_an_inactive_one() -> None:
    table = SymbolTable({1: ListedPair("BTCUSDT", "BTC", "USD")}, {2: ListedPair("BTC-PERP", "BTC", "USD")})
    assert table.find("BTCUSD") == [1]


def test_near_matches_come_best_first_and_are_few(table: SymbolTable[int]) -> None:
    assert table.near("BTCUSTD")[0] == "BTCUSDT"
    assert table.near("eur-usd")[0] == "EURUSD"
    assert len(table.near("USD")) <= 5
    assert table.near("?") == []


def test_normalising_is_bounded_and_idempotent() -> None:
    assert normalise("btc-usd/t") == "BTCUSDT"
    assert normalise(normalise("x.y:z")) == normalise("x.y:z")
    assert len(normalise("a" * 1000)) == LONGEST_SYMBOL
