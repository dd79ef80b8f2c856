"""The broadcast port: lossy hints from whoever changed something to whoever shows it."""

from collections import defaultdict
from collections.abc import Callable
from typing import Protocol

type Handler = Callable[[bytes], None]


class Broadcast(Protocol):
    """Topics of bytes. Delivery is a hint and may be lost; handlers are quick and do not block."""

    def publish(self, topic: str, message: bytes) -> None:
        """Hand a message to every current subscriber of the topic, in this process or others."""
        ...

    def subscribe(self, topic: str, handler: Handler) -> Callable[[], None]:
        """Call `handler` with each message until the returned function is called."""
        ...

    def has_subscribers(self, topic: str) -> bool:
        """Whether anybody may be listening, so that a message nobody wants need not be made."""
        ...


class MemoryBroadcast:
    """Broadcast within one process."""

    def __init__(self) -> None:
        self._handlers: dict[str, dict[int, Handler]] = defaultdict(dict)
        self._next = 0

    def publish(self, topic: str, message: bytes) -> None:
        """Call each handler of the topic in turn."""
        for handler in tuple(self._handlers.get(topic, {}).values()):
            handler(message)

    def has_subscribers(self, topic: str) -> bool:
        """Whether a handler of the topic is there."""
        return topic in self._handlers

    def subscribe(self, topic: str, handler: Handler) -> Callable[[], None]:
        """Add a handler; the returned function removes it (twice is harmless)."""
        self._next += 1
        key = self._next
        self._handlers[topic][key] = handler

        def unsubscribe() -> None:
            handlers = self._handlers.get(topic, {})
            handlers.pop(key, None)
            if not handlers:
                self._handlers.pop(topic, None)

        return unsubscribe
