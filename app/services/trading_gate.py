"""What requests must pass in the transaction that writes them: trading states, caps, netting."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from app.domain.enums import PositionSide
from app.domain.errors import MarqetError
from app.domain.limits import Caps, Usage, excess, require_room
from app.domain.netting import conflict_with
from app.domain.trading_state import Subject
from app.models.market import Pair, VenueAccount
from app.models.trading import Trade
from app.repositories.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Opening:
    """What is to be opened: `notional` in USDC, `orders` the entry with its exits; how its venue takes it."""

    pair: Pair
    side: PositionSide
    leverage: int
    notional: Decimal
    orders: int
    caps: Caps
    is_netted: bool


async def opening_refusals(
    work: UnitOfWork, user_id: int, account: VenueAccount | None, asked: Opening
) -> Sequence[MarqetError]:
    """Every refusal of an opening request: TRADING_HALTED, LIMIT_EXCEEDED, POSITION_CONFLICT, LEVERAGE_CONFLICT.

    Final where the caller holds the locks of the account and of (account, pair); None is an account not yet made.
    """
    refusals: list[MarqetError] = []
    ruling = await work.trading_states.ruling(Subject(user_id, asked.pair.id, asked.pair.venue))
    if not ruling.may_open:
        refusals.append(ruling.refusal)
    is_capped = asked.caps != Caps()
    current = Usage() if account is None or not is_capped else await work.exposure.usage(account.id)
    too_much = excess(asked.caps, current, Usage(1, asked.orders, asked.notional))
    if too_much is not None:
        refusals.append(too_much)
    if asked.is_netted and account is not None:
        held = await work.exposure.live_on(account.id, asked.pair.id)
        conflict = conflict_with(held, asked.side, asked.leverage)
        if conflict is not None:
            refusals.append(conflict)
    return refusals


async def require_sending(work: UnitOfWork, trade: Trade) -> None:
    """Raise TRADING_HALTED where nothing may be sent for a trade, neither closes nor cancels."""
    ruling = await work.trading_states.ruling(Subject(trade.user_id, trade.pair_id, trade.provider))
    ruling.require_send()


async def require_exit_room(work: UnitOfWork, trade: Trade, caps: Caps) -> None:
    """Raise LIMIT_EXCEEDED where a trade's account has no room for one more exit; the account is locked."""
    if caps.open_orders:
        require_room(caps, await work.exposure.usage(trade.venue_account_id), Usage(open_orders=1))
