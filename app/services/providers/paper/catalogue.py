"""The pairs of the paper venue, and what a simulation of each starts from."""

from dataclasses import dataclass
from decimal import Decimal

from app.domain.enums import Category
from app.domain.trading import PairListing

VENUE = "paper"


@dataclass(frozen=True, slots=True)
class CategoryTerms:
    """What all pairs of a category share; rates as fractions.

    maintenance_margin_rate is below 1 / max_leverage, so that a position opened at the maximum lives.
    price_protect_limit is how far a mark may be from the last price for exits that are protected.
    """

    max_leverage: int
    taker_fee_rate: Decimal
    maintenance_margin_rate: Decimal
    price_protect_limit: Decimal


@dataclass(frozen=True, slots=True)
class PaperPair:
    """A pair and its simulation: the first mid price, the spread in price steps, the size of one step of the walk.

    `volatility` is the standard deviation of one tick's relative move.
    """

    listing: PairListing
    first_price: Decimal
    spread_steps: int
    volatility: float


TERMS = {
    Category.CRYPTO: CategoryTerms(50, Decimal("0.0005"), Decimal("0.01"), Decimal("0.05")),
    Category.FOREX: CategoryTerms(200, Decimal("0.0003"), Decimal("0.0025"), Decimal("0.01")),
    Category.COMMODITY: CategoryTerms(100, Decimal("0.0003"), Decimal("0.005"), Decimal("0.03")),
    Category.INDEX: CategoryTerms(100, Decimal("0.0003"), Decimal("0.005"), Decimal("0.02")),
    Category.STOCK: CategoryTerms(50, Decimal("0.0003"), Decimal("0.01"), Decimal("0.05")),
}
MIN_COLLATERAL = Decimal(1)
MAX_COLLATERAL = Decimal(1_000_000)


def _pair(
    symbol: str,
    name: str,
    category: Category,
    steps: str,
    simulation: tuple[str, int, float],
    *aliases: str,
) -> PaperPair:
    """`name` is BASE/QUOTE; `steps` is the price step and the size step."""
    base, quote = name.split("/")
    price_step, size_step = map(Decimal, steps.split())
    terms = TERMS[category]
    listing = PairListing(
        venue_pair_id=symbol,
        symbol=symbol,
        base=base,
        quote=quote,
        category=category,
        price_step=price_step,
        size_step=size_step,
        min_leverage=1,
        max_leverage=terms.max_leverage,
        min_collateral=MIN_COLLATERAL,
        max_collateral=MAX_COLLATERAL,
        taker_fee_rate=terms.taker_fee_rate,
        maintenance_margin_rate=terms.maintenance_margin_rate,
        aliases=aliases,
        price_protect_limit=terms.price_protect_limit,
    )
    first_price, spread_steps, volatility = simulation
    return PaperPair(listing, Decimal(first_price), spread_steps, volatility)


# Size steps are fine enough that the smallest collateral at leverage 1 buys at least ten of them.
CATALOGUE = (
    _pair("BTCUSDT", "BTC/USD", Category.CRYPTO, "0.01 0.000001", ("65000.00", 10, 4e-5), "BTCUSDC", "XBTUSD"),
    _pair("ETHUSDT", "ETH/USD", Category.CRYPTO, "0.01 0.00001", ("3200.00", 2, 5e-5), "ETHUSDC"),
    _pair("SOLUSDT", "SOL/USD", Category.CRYPTO, "0.01 0.0001", ("150.00", 1, 7e-5), "SOLUSDC"),
    _pair("EURUSD", "EUR/USD", Category.FOREX, "0.00001 0.01", ("1.08500", 8, 6e-6)),
    _pair("GBPUSD", "GBP/USD", Category.FOREX, "0.00001 0.01", ("1.27000", 10, 7e-6)),
    _pair("USDJPY", "USD/JPY", Category.FOREX, "0.001 0.0001", ("150.000", 8, 7e-6)),
    _pair("XAUUSD", "XAU/USD", Category.COMMODITY, "0.001 0.00001", ("2400.000", 300, 1.5e-5), "GOLD"),
    _pair("XAGUSD", "XAG/USD", Category.COMMODITY, "0.001 0.001", ("28.000", 15, 2.5e-5), "SILVER"),
    _pair("WTIUSD", "WTI/USD", Category.COMMODITY, "0.001 0.001", ("75.000", 30, 2.5e-5), "USOIL"),
    _pair("SPX500", "SPX/USD", Category.INDEX, "0.01 0.00001", ("5500.00", 40, 1.2e-5), "SP500", "US500"),
    _pair("DE30EUR", "DE30/EUR", Category.INDEX, "0.1 0.000001", ("18000.0", 10, 1.4e-5), "DAX", "GER40"),
    _pair("AAPLUSD", "AAPL/USD", Category.STOCK, "0.01 0.0001", ("220.00", 2, 2e-5)),
    _pair("TSLAUSD", "TSLA/USD", Category.STOCK, "0.01 0.0001", ("250.00", 4, 4e-5)),
)
