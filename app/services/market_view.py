"""What a trade needs to know of its market: the pair by routing, its quote, its venue's balance."""

from decimal import Decimal
from typing import Protocol

from app.core.clock import Clock
from app.domain.enums import PositionSide
from app.domain.errors import Conflict, InvalidRequest, Unavailable
from app.domain.limits import Caps, VenueCaps
from app.domain.prices import Quote
from app.domain.trading import AccountRef, VenueBalance
from app.models.market import Pair
from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.providers.base import BaseTradingProvider, QuoteBoard
from app.services.watched_prices import Watching, watched_price

UNCAPPED = VenueCaps(Caps(), {})


class Directory(Protocol):
    """Resolves pairs."""

    def by_id(self, pair_id: int) -> Pair:
        """The pair; NotFound for an unknown id."""
        ...

    def resolve_asset(self, text: str, venue: str) -> Pair:
        """The pair that a body's `asset` means at a venue; UNSUPPORTED_ASSET or AMBIGUOUS_ASSET."""
        ...


class Router(Protocol):
    """Finds the venue of an asset and its adapter."""

    async def route_for_asset(self, asset: str, *, sandbox: bool = False) -> str:
        """The venue's name."""
        ...

    async def get_provider(self, provider_name: str) -> BaseTradingProvider:
        """The venue's adapter."""
        ...


class MarketView:
    """Pairs, quotes and balances, as trading asks for them."""

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        directory: Directory,
        router: Router,
        board: QuoteBoard,
        clock: Clock,
        caps: VenueCaps = UNCAPPED,
    ) -> None:
        self._uow = uow
        self._directory = directory
        self._router = router
        self._board = board
        self._clock = clock
        self._caps = caps

    async def find(self, asset: str, is_sandbox: bool) -> Pair:
        """The pair an asset trades as, at the venue it routes to."""
        venue = await self._router.route_for_asset(asset, sandbox=is_sandbox)
        return self._directory.resolve_asset(asset, venue)

    def pair(self, pair_id: int) -> Pair:
        """The pair of an id."""
        return self._directory.by_id(pair_id)

    def quote(self, pair: Pair) -> Quote:
        """The last quote, however old; PRICE_STALE when there has been none."""
        quote = self._board.latest(pair.id)
        if quote is None:
            raise Unavailable(f"{pair.symbol} has no price yet.", code="PRICE_STALE", pair=pair.symbol, retry_after=1)
        return quote

    def fresh_quote(self, pair: Pair) -> Quote:
        """The last quote, of a closed market however old; PRICE_STALE where a newer one should have come."""
        quote = self.quote(pair)
        if quote.is_stale(self._clock.now(), pair.category):
            raise Unavailable(code="PRICE_STALE", pair=pair.symbol, retry_after=1)
        return quote

    def tradable_quote(self, pair: Pair) -> Quote:
        """The last quote of an open market, fresh; MARKET_CLOSED or PRICE_STALE otherwise."""
        quote = self.fresh_quote(pair)
        if not quote.market.is_open:
            raise Conflict(
                f"The market of {pair.symbol} is closed.",
                code="MARKET_CLOSED",
                pair=pair.symbol,
                next_open=quote.market.next_open,
            )
        return quote

    def watched_price(self, pair: Pair, watching: Watching, side: PositionSide, quote: Quote) -> Decimal:
        """The price, at a quote, of the series that exits of a position on `side` watch.

        TRIGGER_PRICE_UNKNOWN where the market tells none.
        """
        price = watched_price(self._board, watching, side, quote.tick, pair)
        if price is None:
            raise InvalidRequest(
                f"{pair.symbol} tells no {watching.trigger_by} price; exits there watch the mark or the exit price.",
                code="TRIGGER_PRICE_UNKNOWN",
                trigger_by=watching.trigger_by,
                pair=pair.symbol,
            )
        return price

    def caps(self, venue: str) -> Caps:
        """The most that one user may have at a venue."""
        return self._caps.of(venue)

    async def nets(self, venue: str) -> bool:
        """Whether a venue keeps one position per account and pair."""
        return (await self._router.get_provider(venue)).capabilities.netting

    async def venue_balance(self, user_id: int, venue: str) -> VenueBalance:
        """The user's money at a venue."""
        async with self._uow() as work:
            account = await work.venue_accounts.ensure(user_id, venue)
        provider = await self._router.get_provider(venue)
        return await provider.balance(AccountRef(user_id, account.id))
