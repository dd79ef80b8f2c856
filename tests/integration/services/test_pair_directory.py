"""The pair directory: what a venue lists is kept, found and never lost."""

from dataclasses import replace
from typing import Any

import pytest

from app.bootstrap import Container
from app.domain.enums import Category
from app.domain.errors import InvalidRequest, MarqetError, NotFound
from app.domain.trading import PairListing
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.pair_directory import PairDirectory
from app.services.providers.base import BaseTradingProvider
from app.services.providers.paper.catalogue import CATALOGUE

BTC = CATALOGUE[0].listing


class Listing:
    """As much of a venue as a directory asks for."""

    def __init__(self, name: str, *listings: PairListing) -> None:
        self.name = name
        self.listings = listings

    async def get_pairs(self) -> list[PairListing]:
        return list(self.listings)


@pytest.fixture
def directory(uow: UnitOfWorkFactory) -> PairDirectory:
    return PairDirectory(uow)


async def refresh(directory: PairDirectory, name: str, *listings: PairListing) -> None:
    venue: Any = Listing(name, *listings)
    provider: BaseTradingProvider = venue
    await directory.refresh(provider)


async def test_every_paper_pair_is_listed_with_its_terms(container: Container) -> None:
    listed = {pair.symbol: pair for pair in container.directory.listed("paper")}
    assert list(listed) == [pair.listing.symbol for pair in CATALOGUE]
    for pair in CATALOGUE:
        row = listed[pair.listing.symbol]
        for name in PairListing.__dataclass_fields__:
            expected = getattr(pair.listing, name)
            assert getattr(row, name) == (list(expected) if name == "aliases" else expected), name
        assert row.maintenance_margin_rate < 1 / row.max_leverage
        assert pair.first_price * row.size_step <= row.min_collateral / 10
    assert {pair.category for pair in listed.values()} == set(Category)


async def test_listings_change_pairs_in_place_and_those_gone_are_kept_inactive(directory: PairDirectory) -> None:
    eth = replace(BTC, symbol="ETHUSDT", base="ETH", aliases=())
    await refresh(directory, "one", BTC, eth)
    before = directory.resolve_pair("BTC", "one")
    await refresh(directory, "one", replace(BTC, max_leverage=7, aliases=("COIN",)))
    after = directory.resolve_pair("coin", "one")
    assert (after.id, after.max_leverage) == (before.id, 7)
    assert [pair.symbol for pair in directory.listed("one")] == ["BTCUSDT"]
    gone = directory.resolve_pair("ETHUSDT", "one")
    assert directory.by_id(gone.id).is_active is False
    with pytest.raises(NotFound):
        directory.resolve_pair("ETH", "one")
    await refresh(directory, "one", BTC, eth)
    assert directory.resolve_asset("ETH", "one").id == gone.id
    assert directory.resolve_asset("ETH", "one").is_active


async def test_a_venue_that_lists_nothing_keeps_its_pairs(directory: PairDirectory) -> None:
    await refresh(directory, "two", BTC)
    await refresh(directory, "two")
    assert directory.listed("two") == []
    assert directory.resolve_pair("BTCUSDT", "two").is_active is False


async def test_what_cannot_be_found_is_told_with_what_looks_like_it(directory: PairDirectory) -> None:
    await refresh(directory, "three", BTC, replace(BTC, symbol="BTCEUR", quote="EUR", aliases=()))

    def refused(kind: type[MarqetError], ask: Any) -> tuple[str, object]:
        with pytest.raises(kind) as caught:
            ask()
        return caught.value.code, caught.value.details["near"]

    both = ["BTCEUR", "BTCUSDT"]
    assert refused(NotFound, lambda: directory.resolve_pair("BTC", "three")) == ("PAIR_NOT_FOUND", both)
    assert refused(NotFound, lambda: directory.resolve_pair("BTCUSTD", "three")) == ("PAIR_NOT_FOUND", both[::-1])
    assert refused(InvalidRequest, lambda: directory.resolve_asset("BTC", "three")) == ("AMBIGUOUS_ASSET", both)
    assert refused(InvalidRequest, lambda: directory.resolve_asset("DOGE", "three")) == ("UNSUPPORTED_ASSET", [])
    assert refused(NotFound, lambda: directory.resolve_pair("BTC", "nowhere")) == ("PAIR_NOT_FOUND", [])
    with pytest.raises(NotFound) as caught:
        directory.by_id(2**62)
    assert caught.value.code == "PAIR_NOT_FOUND"
    assert directory.resolve_asset("BTC-EUR", "three").symbol == "BTCEUR"


async def test_an_asset_is_known_whatever_venue_lists_it(directory: PairDirectory) -> None:
    await refresh(directory, "four", replace(BTC, symbol="DOGEUSDT", base="DOGE", aliases=()))
    known = directory.known_as("doge")
    assert known is not None
    assert (known.venue, known.category) == ("four", Category.CRYPTO)
    assert directory.known_as("CATCOIN") is None
