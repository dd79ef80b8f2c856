"""One connected client as the hub sees it: who it is, what it subscribed to, what waits to be sent to it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from app.domain.channels import Channel
from app.services.websocket.frames import EventFrame, FrameId
from app.services.websocket.outbox import SLOW, Outbox
from app.services.websocket.snapshots import Snapshot, TradeFilter


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a connection acts for, by which login, and until when."""

    user_id: int
    session_id: UUID
    expires_at: datetime
    is_sandbox: bool = False


@dataclass(slots=True)
class Subscription:
    """One private channel, told until the sequence `as_of`; until its snapshot is, what happens is held back.

    `trade_ids` None means every trade.
    """

    trade_ids: TradeFilter
    as_of: int | None = None
    held: list[EventFrame] = field(default_factory=list)

    def wants(self, frame: EventFrame) -> bool:
        """Whether the filter lets a frame through."""
        return self.watches(frame.trade_id)

    def watches(self, trade_id: int | None) -> bool:
        """Whether the filter lets through what is about a trade."""
        return self.trade_ids is None or trade_id in self.trade_ids


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client asks to see, or to see no longer: pairs (id -> symbol) or a private channel of its user.

    For a channel, `trade_ids` None means every trade; `since` is the last sequence the client has. `frame_id` is
    the client's own and comes back in the answer. For pairs, None means all that are subscribed.
    """

    channel: Channel
    pairs: Mapping[int, str] | None = None
    trade_ids: TradeFilter = None
    since: int | None = None
    frame_id: FrameId | None = None


class Connection:
    """A client's subscriptions and its outbox. Several may belong to one user."""

    __slots__ = (
        "_max_held",
        "address",
        "id",
        "identity",
        "on_drop",
        "opened_at",
        "outbox",
        "pairs",
        "sending_since",
        "subscriptions",
    )

    def __init__(self, connection_id: int, address: str, outbox: Outbox, *, max_held: int, opened_at: float) -> None:
        self.id = connection_id
        self.address = address
        self.outbox = outbox
        self.identity: Identity | None = None
        self.pairs: set[int] = set()
        self.subscriptions: dict[Channel, Subscription] = {}
        # Loop time.
        self.opened_at = opened_at
        # Loop time at which the send began that the writer waits for.
        self.sending_since: float | None = None
        # Set by whoever owns the socket.
        self.on_drop: Callable[[], object] | None = None
        self._max_held = max_held

    def deliver(self, frame: EventFrame) -> None:
        """Queue an event's frame if this client subscribed to it and was not told of it before."""
        subscription = self.subscriptions.get(frame.channel)
        if subscription is None or not subscription.wants(frame):
            return
        if subscription.as_of is not None:
            if frame.sequence > subscription.as_of:
                subscription.as_of = frame.sequence
                self.outbox.put(frame.text)
        elif len(subscription.held) < self._max_held:
            subscription.held.append(frame)
        else:
            self.outbox.close(SLOW, discard=True)

    def deliver_latest(self, channel: Channel, key: str, frame: str, trade_id: int | None = None) -> None:
        """Queue a frame that is not of the log, in place of an unsent one of its key.

        One about a trade is for those who watch it.
        """
        if self.is_shown(channel) and (trade_id is None or self.subscriptions[channel].watches(trade_id)):
            self.outbox.put_latest(key, frame)

    def is_shown(self, channel: Channel) -> bool:
        """Whether a private channel is subscribed and its snapshot told."""
        subscription = self.subscriptions.get(channel)
        return subscription is not None and subscription.as_of is not None

    @contextmanager
    def holding(self, channel: Channel, trade_ids: TradeFilter) -> Iterator[Subscription]:
        """Subscribe: the channel's events are held back until `tell`; without it all is as it was before."""
        previous = self.subscriptions.get(channel)
        subscription = self.subscriptions[channel] = Subscription(trade_ids)
        try:
            yield subscription
        finally:
            if subscription.as_of is None:
                self.subscriptions.pop(channel, None)
                if previous is not None:
                    self.subscriptions[channel] = previous
                    self._tell_held(subscription.held)

    def forget_held(self) -> None:
        """Drop what is held back: it will be delivered again."""
        for subscription in self.subscriptions.values():
            subscription.held.clear()

    def drop(self) -> None:
        """End the connection without a word, as its client hears none."""
        if self.on_drop is not None:
            self.on_drop()

    async def tell(self, subscription: Subscription, first: str, snapshot: Snapshot) -> None:
        """Queue the answer and the snapshot at the pace of the reader, then what was held back meanwhile."""
        self.outbox.put(first)
        for frame in snapshot.frames:
            if not self.outbox.has_room:
                await self.outbox.room()
            self.outbox.put(frame)
        subscription.as_of = snapshot.sequence
        held, subscription.held = subscription.held, []
        self._tell_held(held)

    def _tell_held(self, held: Sequence[EventFrame]) -> None:
        for frame in held:
            self.deliver(frame)
