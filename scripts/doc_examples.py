"""Worked examples of trading, computed by the rules that trade."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from app.domain.enums import Category, PositionSide
from app.domain.ledger import close_position, open_position, split_funding
from app.domain.money import ZERO, plain
from app.domain.positions import (
    Closing,
    average_entry,
    close_at,
    fee_of,
    funding_of,
    liquidate_at,
    liquidation_price,
    maintenance_margin,
    margin_of_part,
    part_of,
    pnl_of,
    size_of,
)
from app.domain.prices import UNGUARDED, Tick, judged_by_guard
from app.domain.triggers import MoveStop, Trigger, TriggerOrder, evaluate, trailing_stop
from app.services.providers.paper.catalogue import TERMS

STEP = Decimal("0.000001")
ENTRY = Decimal("60035.77")
COLLATERAL = Decimal(1000)
LEVERAGE = 10
TERMS_OF_CRYPTO = TERMS[Category.CRYPTO]
FEE, MAINTENANCE = TERMS_OF_CRYPTO.taker_fee_rate, TERMS_OF_CRYPTO.maintenance_margin_rate
SIZE = size_of(COLLATERAL, LEVERAGE, ENTRY, STEP)


@dataclass(frozen=True, slots=True)
class Held:
    """The position that every example is about."""

    side: PositionSide = PositionSide.LONG
    size: Decimal = SIZE
    entry_price: Decimal = ENTRY
    margin: Decimal = COLLATERAL


def text(*lines: str) -> str:
    """A block of plain text."""
    return "\n".join(("```text", *lines, "```"))


def opening() -> str:
    """Size and fee of an opening."""
    exact = COLLATERAL * LEVERAGE / ENTRY
    size = Held().size
    exact_fee = size * ENTRY * FEE
    return text(
        f"collateral x leverage / ask = {plain(COLLATERAL)} x {LEVERAGE} / {plain(ENTRY)} = {exact:.9f} ...",
        f"size, floored to {plain(STEP)}        = {plain(size)} BTC",
        f"fee = size x price x {plain(FEE)}  = {plain(exact_fee)}",
        f"fee, rounded up to 0.000001   = {plain(fee_of(size, ENTRY, FEE))} USDC",
    )


def closing() -> str:
    """A whole close, and what comes back."""
    price = Decimal("60286.21")
    held = Held()
    done = close_at(held, held.size, price, FEE)
    exact = pnl_of(held.side, held.size, ENTRY, price)
    return text(
        f"pnl = {plain(held.size)} x ({plain(price)} - {plain(ENTRY)}) = {plain(exact)}",
        f"pnl, rounded down to 0.000001 = {plain(done.pnl)} USDC",
        f"fee, rounded up               = {plain(done.fee)} USDC",
        f"back to the balance           = {plain(done.margin)} + {plain(done.pnl)} - {plain(done.fee)}"
        f" = {plain(done.proceeds)} USDC",
    )


def part_close() -> str:
    """A part close, and what is left."""
    held = Held()
    part = Decimal("0.066626")
    done = close_at(held, part, Decimal("60286.21"), FEE)
    rest = replace(held, size=done.size_left, margin=done.margin_left)
    after = liquidation_price(rest.side, rest.size, ENTRY, rest.margin, MAINTENANCE)
    return text(
        f"fraction 0.4 of {plain(held.size)} = {plain(held.size * 4 / 10)}, floored = {plain(part)} BTC",
        f"margin released, rounded down = {plain(done.margin)} USDC",
        f"pnl {plain(done.pnl)}, fee {plain(done.fee)}",
        f"left: {plain(rest.size)} BTC with a margin of {plain(rest.margin)} USDC, liquidated at {after:.4f} ...",
    )


def liquidation() -> str:
    """The price at which a position is taken over, and what is left of it then."""
    held = Held()
    price = liquidation_price(held.side, held.size, ENTRY, held.margin, MAINTENANCE)
    mark = Decimal("54577.95")
    gone = liquidate_at(held, Decimal("54577.90"))
    deep = liquidate_at(held, Decimal("53000"))
    return text(
        f"(entry x size - margin) / (size x (1 - {plain(MAINTENANCE)})) = {price:.6f} ...",
        f"at a mark of {plain(mark)}: equity {plain(held.margin + pnl_of(held.side, held.size, ENTRY, mark))}"
        f" < maintenance {plain(maintenance_margin(held.size, mark, MAINTENANCE))}",
        f"taken over at the bid, 54577.9:  {_told(gone)}",
        f"after a gap to 53000:            {_told(deep)}",
    )


def funding() -> str:
    """What a long and a short have of one funding, and where it comes from when the balance is short."""
    mark, rate, free = Decimal("60310.55"), Decimal("0.0001"), Decimal("0.4")
    held = Held()
    exact = rate * held.size * mark
    paid, received = (funding_of(side, held.size, mark, rate) for side in (PositionSide.LONG, PositionSide.SHORT))
    split = split_funding(paid, free, held.margin)
    margin = held.margin + split.margin
    after = liquidation_price(held.side, held.size, ENTRY, margin, MAINTENANCE)
    return text(
        f"rate x size x mark = {plain(rate)} x {plain(held.size)} x {plain(mark)} = {plain(exact)}",
        f"a long pays, rounded up           {plain(-paid)} USDC",
        f"a short receives, rounded down    {plain(received)} USDC",
        f"with only {plain(free)} USDC free: balance {plain(split.balance)}, margin {plain(split.margin)};"
        f" margin {plain(margin)}, liquidated at {after:.4f} ...",
    )


def parts() -> str:
    """An order that fills in three parts at three prices."""
    size, collateral, filled = SIZE, COLLATERAL, ZERO
    entry, lines = ENTRY, ["part      price     margin       fee       entry price so far"]
    for number, price in enumerate(map(Decimal, ("60035.77", "60036.40", "60035.90"))):
        part = part_of(size, filled, number, 3, STEP)
        margin = margin_of_part(collateral, size, filled, part)
        entry = average_entry(PositionSide.LONG, filled, entry, part, price)
        filled += part
        lines.append(f"{plain(part)}  {price}  {margin:f}   {plain(fee_of(part, price, FEE))}  {entry:.6f}")
    return text(*lines)


def _told(done: Closing) -> str:
    money = f"pnl {plain(done.pnl)}, to the insurance fund {plain(done.fee)}"
    return f"{money}, loss beyond the margin {plain(done.shortfall)}"


def trailing() -> str:
    """A trailing stop, tick by tick."""
    order = TriggerOrder(
        order_id=1,
        version=1,
        side=PositionSide.LONG,
        armed_sequence=1,
        armed_price=Decimal("60035.72"),
        trailing_percentage=Decimal("0.5"),
    )
    watermark = order.armed_price
    lines = [
        "mark       watermark  stop",
        f"{order.armed_price}   {watermark}   {plain(trailing_stop(order, watermark))}   armed: cannot fire",
    ]
    for mark in map(Decimal, ("60420.10", "60599.11", "60312.40", "60296.12", "60294.05")):
        outcome = evaluate(order, watermark, mark)
        if isinstance(outcome, Trigger):
            lines.append(f"{mark}   {watermark}   {plain(trailing_stop(order, watermark))}   fires")
            break
        if isinstance(outcome, MoveStop):
            watermark = outcome.watermark
        word = "the stop moves" if isinstance(outcome, MoveStop) else "nothing"
        lines.append(f"{mark}   {watermark}   {plain(trailing_stop(order, watermark))}   {word}")
    return text(*lines)


def activation() -> str:
    """A trailing stop that begins at its activation price, tick by tick."""
    order = TriggerOrder(
        order_id=1,
        version=1,
        side=PositionSide.LONG,
        armed_sequence=1,
        armed_price=Decimal("60035.72"),
        trailing_distance=Decimal(250),
        activation_price=Decimal(60500),
    )
    watermark = None
    lines = ["mark       watermark  stop"]
    for mark in map(Decimal, ("60035.72", "59640.00", "60512.30", "60599.11", "60349.11")):
        outcome = None if mark == order.armed_price else evaluate(order, watermark, mark)
        word = "waits"
        if isinstance(outcome, MoveStop):
            word = "begins" if watermark is None else "the stop moves"
            watermark = outcome.watermark
        if isinstance(outcome, Trigger):
            word = "fires"
        stands = ("-", "-") if watermark is None else (plain(watermark), plain(trailing_stop(order, watermark)))
        lines.append(f"{mark}   {stands[0]:<8}   {stands[1]:<8}   {word}")
    return text(*lines)


def protection() -> str:
    """What a price guard makes of a mark that leaves the last price, second by second."""
    limit = TERMS_OF_CRYPTO.price_protect_limit
    told = Decimal("60030.00")
    start = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
    guard = UNGUARDED
    lines = [f"last {told}, told again every second; limit {plain(limit * 100)} %", "second  mark       distance"]
    for second, mark in ((0, "60035.72"), (1, "56800.00"), (3, "56750.00"), (5, "56790.00"), (6, "56810.00")):
        price = Decimal(mark)
        tick = Tick(1, second + 1, price, price, start + timedelta(seconds=second), "paper", told)
        guard, is_believed = judged_by_guard(guard, tick, limit)
        distance = abs(price - told) / told * 100
        since = second - (guard.holding_since - start).seconds if guard.holding_since else 0
        held = f"far for {since} s" if guard.holding_since else "near"
        lines.append(
            f"{second}       {mark}   {distance:.2f} %     {held}: {'believed' if is_believed else 'passed over'}"
        )
    return text(*lines)


def gap() -> str:
    """A long whose stop is jumped over while the market is closed, and one that is liquidated by the jump."""
    stop = TriggerOrder(1, 1, PositionSide.LONG, 1, ENTRY, stop_price=Decimal(59000))
    held = Held()
    level = liquidation_price(held.side, held.size, held.entry_price, held.margin, MAINTENANCE)
    lines = [f"a stop at {plain(stop.stop_price or ZERO)}; liquidation at {level:.2f}"]
    for bid, ask in (("57500.00", "57510.00"), ("53000.00", "53010.00")):
        tick = Tick(1, 2, Decimal(bid), Decimal(ask), datetime(2026, 1, 5, 12, 0, tzinfo=UTC), "paper")
        if tick.mark <= level:
            done = liquidate_at(held, tick.bid)
            lines.append(f"opens at {bid} / {ask}: liquidated at {bid}, pnl {plain(done.pnl)}; the stop ends with it")
            continue
        outcome = evaluate(stop, None, tick.mark)
        done = close_at(held, held.size, tick.bid, FEE)
        fired = "fires" if isinstance(outcome, Trigger) else "waits"
        lines.append(
            f"opens at {bid} / {ask}: the stop {fired}, trigger_price {plain(tick.mark)}, filled at {bid}, "
            f"pnl {plain(done.pnl)}"
        )
    return text(*lines)


def ledger() -> str:
    """The bookings of an opening and of its close."""
    held = Held()
    closed = close_at(held, held.size, Decimal("60286.21"), FEE)
    bookings = (
        open_position(1, 1, held.margin, fee_of(held.size, ENTRY, FEE)),
        close_position(1, 2, closed),
    )
    lines = []
    for booking in bookings:
        entries = ", ".join(f"{entry.account} {entry.amount:+f}" for entry in booking.entries)
        lines.append(f"{booking.reason:<6} {entries}")
    return text(*lines, "each line sums to zero")


EXAMPLES: Mapping[str, Callable[[], str]] = {
    "example-opening": opening,
    "example-closing": closing,
    "example-part-close": part_close,
    "example-liquidation": liquidation,
    "example-funding": funding,
    "example-parts": parts,
    "example-trailing": trailing,
    "example-activation": activation,
    "example-protection": protection,
    "example-gap": gap,
    "example-ledger": ledger,
}
