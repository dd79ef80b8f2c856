"""What subscribe and unsubscribe mean, channel by channel."""

from app.api.errors import describe
from app.api.websocket.messages import read_as
from app.domain.channels import Channel
from app.domain.errors import Conflict, NotFound
from app.schemas.websocket import ChannelData, ChosenTrades, ClientMessage, NoData, PricesData, TradesData
from app.services.websocket.connections import Connection, Identity, Wish
from app.services.websocket_service import WebSocketManager

# Looking for near matches is slow; with so many unknown names in one message nothing is subscribed.
MOST_UNKNOWN = 10


async def subscribe(hub: WebSocketManager, connection: Connection, identity: Identity, message: ClientMessage) -> None:
    """Show a client what its message names. Of pairs the known ones, before PAIR_NOT_FOUND names the others."""
    channel = _channel_of(message)
    if channel is Channel.PRICES:
        wanted = read_as(PricesData, message.data or {}, at="data")
        pairs, unknown = await _resolved(hub, wanted.pairs, identity)
        if pairs:
            await hub.subscribe(connection, Wish(channel, pairs=pairs, frame_id=message.id))
        _refuse(unknown)
        return
    model = TradesData if channel is Channel.TRADES else ChannelData
    filters = read_as(model, message.data or {}, at="data")
    wish = Wish(channel, trade_ids=_trade_ids(filters), since=filters.since, frame_id=message.id)
    await hub.subscribe(connection, wish)


async def unsubscribe(
    hub: WebSocketManager, connection: Connection, identity: Identity, message: ClientMessage
) -> None:
    """Show a client no longer what its message names; without data nothing of the channel."""
    channel = _channel_of(message)
    if not message.data:
        hub.unsubscribe(connection, Wish(channel, frame_id=message.id))
    elif channel is Channel.PRICES:
        wanted = read_as(PricesData, message.data, at="data")
        pairs, unknown = await _resolved(hub, wanted.pairs, identity)
        if pairs:
            hub.unsubscribe(connection, Wish(channel, pairs=pairs, frame_id=message.id))
        _refuse(unknown)
    else:
        model: type[ChosenTrades | NoData] = ChosenTrades if channel is Channel.TRADES else NoData
        filters = read_as(model, message.data, at="data")
        hub.unsubscribe(connection, Wish(channel, trade_ids=_trade_ids(filters), frame_id=message.id))


def _channel_of(message: ClientMessage) -> Channel:
    if message.channel is None:
        raise describe([{"loc": ("channel",), "type": "missing", "msg": "Field required"}])
    return message.channel


def _trade_ids(data: ChannelData | ChosenTrades | NoData) -> frozenset[int] | None:
    return frozenset(data.trade_ids) if isinstance(data, TradesData | ChosenTrades) and data.trade_ids else None


async def _resolved(
    hub: WebSocketManager, names: list[str], identity: Identity
) -> tuple[dict[int, str], list[dict[str, object]]]:
    """The pairs that names mean (id -> symbol), and what to say of the few names that mean none."""
    if len(names) > hub.limits.pairs:
        raise Conflict("Too many pairs", code="LIMIT_EXCEEDED", limit="pairs", max=hub.limits.pairs)
    pairs: dict[int, str] = {}
    unknown: list[dict[str, object]] = []
    for name in dict.fromkeys(names):
        try:
            pair = await hub.find_pair(name, identity.is_sandbox)
        except NotFound as error:
            unknown.append({"pair": name, "near": error.details.get("near", [])})
            if len(unknown) == MOST_UNKNOWN:
                _refuse(unknown)
        else:
            pairs[pair.id] = pair.symbol
    return pairs, unknown


def _refuse(unknown: list[dict[str, object]]) -> None:
    if unknown:
        is_near = any(pair["near"] for pair in unknown)
        sentence = "No such pair; details.pairs[].near lists similar ones." if is_near else None
        raise NotFound(sentence, code="PAIR_NOT_FOUND", pairs=unknown)
