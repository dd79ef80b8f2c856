"""One example of each WebSocket message, of clients and of the server."""

from collections.abc import Mapping

from pydantic import BaseModel

from app.domain.channels import Channel
from app.domain.events import EventType
from app.schemas import websocket as messages
from app.schemas import websocket_frames as frames
from app.schemas.event_catalogue import CATALOGUE
from app.schemas.event_examples import INSTANT, Example

_PRICE: Example = {
    "pair": "BTCUSDT",
    "price": 60194.32,
    "timestamp": INSTANT,
    "source": "paper",
    "asset": "BTC",
    "quote": "USD",
    "bid": 60194.27,
    "ask": 60194.37,
    "received_at": INSTANT,
    "stale": False,
    "market_open": True,
    "next_open": None,
    "sequence": 1351,
}
_LIMITS: Example = {"pairs": 200, "messages_per_second": 10.0, "message_burst": 20, "frame_bytes": 65536}


def _frame(kind: str, channel: Channel | None, data: Example, **members: object) -> Example:
    return {
        "type": kind,
        "channel": channel,
        "data": data,
        "timestamp": INSTANT,
        **members,
        "connection_sequence": 4,
    }


def _told(kind: EventType, **changes: object) -> Example:
    return CATALOGUE[kind].example | {"event": kind} | changes


EXAMPLES: Mapping[type[BaseModel], Example] = {
    messages.AuthMessage: {"type": "auth", "data": {"token": "eyJhbGciOiJIUzI1NiJ9..."}, "id": "a"},
    messages.SubscribeToPrices: {
        "type": "subscribe",
        "channel": "prices",
        "data": {"pairs": ["BTC", "EURUSD"]},
        "id": "p",
    },
    messages.SubscribeToTrades: {"type": "subscribe", "channel": "trades", "data": {"since": 7}, "id": 1},
    messages.SubscribeToOwn: {"type": "subscribe", "channel": "deposits", "id": 2},
    messages.UnsubscribeFromPrices: {"type": "unsubscribe", "channel": "prices", "data": {"pairs": ["EURUSD"]}},
    messages.UnsubscribeFromTrades: {"type": "unsubscribe", "channel": "trades", "data": {"trade_ids": [123]}},
    messages.UnsubscribeFromOwn: {"type": "unsubscribe", "channel": "positions"},
    messages.PingMessage: {"type": "ping", "data": {"sent": 1}, "id": 3},
    frames.WelcomeFrame: _frame(
        "welcome",
        None,
        {"connection_id": "conn_5f0c91aa_2", "user_id": 456, "expires_at": INSTANT, "limits": _LIMITS},
        id="a",
    ),
    frames.SubscribedToPrices: _frame("subscribed", Channel.PRICES, {"pairs": ["BTCUSDT", "EURUSD"]}, id="p"),
    frames.SubscribedFrame: _frame("subscribed", Channel.TRADES, {"sequence": 12, "recovered": True}, id=1),
    frames.UnsubscribedFrame: _frame("unsubscribed", Channel.PRICES, {"pairs": ["EURUSD"]}),
    frames.PongFrame: _frame("pong", None, {"sent": 1}, id=3),
    frames.ErrorFrame: _frame(
        "error",
        Channel.TRADES,
        {
            "code": "UNKNOWN_ID",
            "message": "WebSocket: not among the user's trades; details.trade_ids names them.",
            "details": {"trade_ids": [9]},
        },
        id=1,
    ),
    frames.ReconnectFrame: _frame("reconnect", None, {"reason": "service restart"}),
    frames.PriceUpdate: _frame("price_update", Channel.PRICES, _PRICE),
    frames.TradeUpdate: _frame(
        "trade_update",
        Channel.TRADES,
        _told(EventType.TRADE_CLOSED, status="closed", trade_status="closed"),
        sequence=12,
    ),
    frames.PositionUpdate: _frame(
        "position_update",
        Channel.POSITIONS,
        _told(EventType.POSITION_UPDATED, current_price=46000.0, unrealized_pnl=222.222, updated_at=INSTANT),
        sequence=7,
    ),
    frames.DepositUpdate: _frame("deposit_update", Channel.DEPOSITS, _told(EventType.SWAP_PROCESSING), sequence=14),
}
