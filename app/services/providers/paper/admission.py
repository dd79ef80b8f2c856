"""What the paper venue accepts and at which price: pure decisions over a pair, a quote and an account."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from app.domain.enums import OrderSide, OrderType, PositionSide
from app.domain.money import USDC_STEP, is_multiple
from app.domain.order_rules import entry_side, exit_side
from app.domain.positions import fee_of, size_of
from app.domain.prices import Quote
from app.domain.trading import CloseParams, ExitParams, TradeParams
from app.models.market import Pair
from app.models.paper import PaperPosition
from app.services.providers.paper.terms import PaperTerms


class Refused(Exception):
    """The venue says no; `reason` is a code of ours, `details` what a person needs to do better."""

    def __init__(self, reason: str, **details: object) -> None:
        super().__init__(reason)
        self.reason = reason
        self.details = {name: str(value) for name, value in details.items()}


@dataclass(frozen=True, slots=True)
class Opening:
    """An accepted opening order: it fills at `price` now, or rests there (or works); `fee` in USDC is reserved.

    `size` is what it fills; a market order that settles later takes its size at its first fill.
    """

    price: Decimal
    size: Decimal
    fee: Decimal
    is_resting: bool


def plan_opening(params: TradeParams, pair: Pair, quote: Quote, free: Decimal, parts: int = 1) -> Opening:
    """What an opening order of so many parts becomes at a quote, with `free` USDC; raises Refused.

    A limit of several parts is sized by the worst price that one of them can have.
    """
    side = entry_side(params.side)
    _check_limits(params, pair)
    if params.order_type is OrderType.LIMIT:
        price, is_resting = _limit_price(params, pair, quote, side)
    else:
        price, is_resting = _market_price(quote, side), False
        check_slippage(side, price, params.reference_price, params.max_slippage)
    worst = max(price, params.price or price) if parts > 1 else price
    size = sized(params.collateral, params.leverage, worst, pair)
    fee = fee_of(size, worst, pair.taker_fee_rate)
    if free < params.collateral + fee:
        raise Refused("INSUFFICIENT_BALANCE", free=free, needed=params.collateral + fee)
    return Opening(price, size, fee, is_resting)


def plan_closing(params: CloseParams, pair: Pair, quote: Quote) -> Decimal:
    """The price of a reduce-only order at a quote; raises Refused."""
    if params.size <= 0:
        raise Refused("SIZE_BELOW_MINIMUM", size_step=pair.size_step)
    side = exit_side(params.side)
    price = _market_price(quote, side)
    check_slippage(side, price, params.reference_price, params.max_slippage)
    return price


def check_netting(held: PaperPosition, side: PositionSide, leverage: int) -> None:
    """Raise Refused unless an order on `side` at `leverage` can add to a position."""
    if held.side is not side:
        raise Refused("POSITION_CONFLICT", side=held.side)
    if held.leverage != leverage:
        raise Refused("LEVERAGE_CONFLICT", leverage=held.leverage)


def check_exit_support(terms: PaperTerms) -> None:
    """Raise Refused unless the venue holds exits."""
    if not terms.native_exits:
        raise Refused("NOT_SUPPORTED", setting="PAPER_NATIVE_EXITS")


def check_exit(params: ExitParams, pair: Pair, mark: Decimal) -> None:
    """Raise Refused for a native exit that is no exit, or whose levels the mark has reached already."""
    levels = (("stop_price", params.stop_price), ("take_profit_price", params.take_profit_price))
    if params.stop_price is None and params.take_profit_price is None:
        raise Refused("MISSING_FIELD", field="stop_price")
    if params.size <= 0:
        raise Refused("SIZE_BELOW_MINIMUM", size_step=pair.size_step)
    for field, level in levels:
        if level is None:
            continue
        if level <= 0 or not is_multiple(level, pair.price_step):
            raise Refused("TOO_MANY_DECIMALS", field=field, step=pair.price_step)
        is_below = (field == "stop_price") is (params.side is PositionSide.LONG)
        if (mark - level if is_below else level - mark) <= 0:
            raise Refused(f"{field.removesuffix('_price')}_wrong_side".upper(), mark=mark, **{field: level})


def sized(collateral: Decimal, leverage: int, price: Decimal, pair: Pair) -> Decimal:
    """The size that a collateral buys at a price; Refused where it is less than one step."""
    size = size_of(collateral, leverage, price, pair.size_step)
    if not size:
        raise Refused("SIZE_BELOW_MINIMUM", size_step=pair.size_step)
    return size


def fresh(quote: Quote | None, pair: Pair, now: datetime) -> Quote:
    """The quote, unless there is none or it is too old to trade on; raises Refused."""
    if quote is None or quote.is_stale(now, pair.category):
        raise Refused("PRICE_STALE")
    return quote


def in_time(not_after: datetime, now: datetime) -> None:
    """Raise Refused after the deadline of a request."""
    if now > not_after:
        raise Refused("EXPIRED_REQUEST", not_after=not_after.isoformat(), now=now.isoformat())


def _check_limits(params: TradeParams, pair: Pair) -> None:
    if not is_multiple(params.collateral, USDC_STEP):
        raise Refused("TOO_MANY_DECIMALS", field="collateral", step=USDC_STEP)
    if not pair.min_leverage <= params.leverage <= pair.max_leverage:
        raise Refused("LEVERAGE_OUT_OF_RANGE", min=pair.min_leverage, max=pair.max_leverage)
    if params.collateral < pair.min_collateral:
        raise Refused("SIZE_BELOW_MINIMUM", min_collateral=pair.min_collateral)
    if params.collateral > pair.max_collateral:
        raise Refused("SIZE_ABOVE_MAXIMUM", max_collateral=pair.max_collateral)


def _market_price(quote: Quote, side: OrderSide) -> Decimal:
    if not quote.market.is_open:
        raise Refused("MARKET_CLOSED")
    return quote.tick.quote_for(buys=side is OrderSide.BUY)


def _limit_price(params: TradeParams, pair: Pair, quote: Quote, side: OrderSide) -> tuple[Decimal, bool]:
    """The price of a limit order and whether it rests: marketable on arrival, it takes the quote."""
    limit = params.price
    if limit is None or limit <= 0:
        raise Refused("MISSING_FIELD", field="price")
    if not is_multiple(limit, pair.price_step):
        raise Refused("TOO_MANY_DECIMALS", field="price", step=pair.price_step)
    price = quote.tick.quote_for(buys=side is OrderSide.BUY)
    is_marketable = price <= limit if side is OrderSide.BUY else price >= limit
    return (price, False) if is_marketable and quote.market.is_open else (limit, True)


def check_slippage(side: OrderSide, price: Decimal, reference: Decimal | None, max_slippage: Decimal | None) -> None:
    """Raise Refused for a price worse than the reference price by more than this fraction of it."""
    if reference is None or max_slippage is None:
        return
    worse_by = price - reference if side is OrderSide.BUY else reference - price
    if worse_by > reference * max_slippage:
        raise Refused("SLIPPAGE_EXCEEDED", price=price, reference_price=reference, max_slippage=max_slippage)
