"""The one place that reads the time of this machine."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where code takes its time from, so that tests can set it."""

    def now(self) -> datetime:
        """The instant, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start that never go back: for durations, never stored."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """The instant, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some fixed start of this machine."""
        return time.monotonic()
