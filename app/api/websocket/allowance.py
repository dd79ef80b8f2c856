"""How often one client may speak."""


class Allowance:
    """A token bucket in seconds of a monotonic clock: `burst` at once, then `per_second`."""

    __slots__ = ("_at", "_burst", "_left", "_per_second")

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = burst * 1.0
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """Take one; False where none is left."""
        since = 0.0 if self._at is None else now - self._at
        self._at = now
        self._left = min(self._burst, self._left + since * self._per_second)
        if self._left < 1:
            return False
        self._left -= 1
        return True
