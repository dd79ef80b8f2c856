"""The pairs of every venue, held in memory and found by any name that they have."""

import asyncio
from collections import defaultdict

from app.core.cache_keys import PAIRS_SECONDS, varied
from app.domain.assets import SymbolTable
from app.domain.enums import Category
from app.domain.errors import InvalidRequest, NotFound
from app.models.market import Pair
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.providers.base import BaseTradingProvider


class PairDirectory:
    """Answers from its last load; `version` changes with each load that found something new."""

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow
        self._by_id: dict[int, Pair] = {}
        self._tables: dict[str, SymbolTable[int]] = {}
        self.version = 0

    async def refresh(self, provider: BaseTradingProvider) -> None:
        """Ask a venue for its pairs, keep them, and read all of them back."""
        listings = await provider.get_pairs()
        async with self._uow() as work:
            await work.pairs.store(provider.name, listings)
        await self.load()

    async def keep_fresh(self) -> None:
        """Read every pair again every five minutes, until cancelled: another process may have refreshed them."""
        while True:
            await asyncio.sleep(varied(PAIRS_SECONDS))
            await self.load()

    async def load(self) -> None:
        """Read every pair from the database."""
        async with self._uow() as work:
            pairs = await work.pairs.everything()
        active: dict[str, dict[int, Pair]] = defaultdict(dict)
        inactive: dict[str, dict[int, Pair]] = defaultdict(dict)
        for pair in pairs:
            (active if pair.is_active else inactive)[pair.venue][pair.id] = pair
        self._by_id = {pair.id: pair for pair in pairs}
        self._tables = {
            venue: SymbolTable(active[venue], inactive[venue]) for venue in sorted(active.keys() | inactive.keys())
        }
        self.version += 1

    def by_id(self, pair_id: int) -> Pair:
        """The pair, active or not; PAIR_NOT_FOUND for an unknown id."""
        pair = self._by_id.get(pair_id)
        if pair is None:
            raise NotFound(code="PAIR_NOT_FOUND", pair_id=pair_id)
        return pair

    def listed(self, venue: str | None = None, category: Category | None = None) -> list[Pair]:
        """Active pairs, of one venue or category where named, by id."""
        return [
            pair
            for pair in self._by_id.values()
            if pair.is_active and venue in {None, pair.venue} and category in {None, pair.category}
        ]

    def find(self, text: str, venue: str) -> list[Pair]:
        """The pairs that a text may mean at a venue: one, several that share a base, or none."""
        table = self._tables.get(venue)
        return [self._by_id[pair_id] for pair_id in table.find(text)] if table else []

    def resolve_pair(self, text: str, venue: str) -> Pair:
        """The pair that a path's text means at a venue; PAIR_NOT_FOUND with near matches."""
        found = self.find(text, venue)
        if len(found) != 1:
            near = [pair.symbol for pair in found] or self._near(text, venue)
            sentence = "No such pair; details.near lists similar ones." if near else None
            raise NotFound(sentence, code="PAIR_NOT_FOUND", pair=text, venue=venue, near=near)
        return found[0]

    def resolve_asset(self, text: str, venue: str) -> Pair:
        """The pair that a body's `asset` means at a venue; UNSUPPORTED_ASSET with near matches, AMBIGUOUS_ASSET."""
        found = self.find(text, venue)
        if not found:
            near = self._near(text, venue)
            sentence = "No pair trades this asset; details.near lists similar ones." if near else None
            raise InvalidRequest(sentence, code="UNSUPPORTED_ASSET", asset=text, venue=venue, near=near)
        if len(found) > 1:
            symbols = [pair.symbol for pair in found]
            raise InvalidRequest(code="AMBIGUOUS_ASSET", asset=text, venue=venue, near=symbols)
        return found[0]

    def known_as(self, text: str) -> Pair | None:
        """Any venue's pair of that name, for what is the same wherever it trades: names, base and category."""
        return next((pair for venue in self._tables for pair in self.find(text, venue)), None)

    def _near(self, text: str, venue: str) -> list[str]:
        table = self._tables.get(venue)
        return table.near(text) if table else []
