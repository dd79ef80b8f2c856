"""The WebSocket's channels, and the broadcast topics that carry what they show between processes."""

from enum import StrEnum

# A message is the public id of a session that has ended (36 characters of ASCII).
SESSION_REVOKED_TOPIC = "session.revoked"

# Broadcasts may have been missed in this process: who follows them looks into the database. Said here alone.
RESYNC_TOPIC = "resync"


class Channel(StrEnum):
    """What a client can subscribe to."""

    PRICES = "prices"
    TRADES = "trades"
    POSITIONS = "positions"
    DEPOSITS = "deposits"

    @property
    def update_type(self) -> str:
        """The type of the channel's frames."""
        return _UPDATE_TYPES[self]


_UPDATE_TYPES = {
    Channel.PRICES: "price_update",
    Channel.TRADES: "trade_update",
    Channel.POSITIONS: "position_update",
    Channel.DEPOSITS: "deposit_update",
}


def price_topic(pair_id: int) -> str:
    """Ready price_update frames of one pair (JSON bytes)."""
    return f"price.{pair_id}"


def user_topic(user_id: int) -> str:
    """One user's events as the relay sends them (LoggedEvent as JSON bytes)."""
    return f"user.{user_id}"


def live_topic(user_id: int) -> str:
    """One user's frames that are not in the log: `key`, a line feed, then the frame (JSON bytes).

    The key begins with its channel ("positions:7"); a newer frame replaces an unsent one of the same key.
    """
    return f"live.{user_id}"


def is_for_gateways(topic: str) -> bool:
    """Whether a topic is for those who hold WebSocket connections, and not for engines."""
    return topic == SESSION_REVOKED_TOPIC or topic.startswith(("user.", "live."))
