"""How a part that we can do without is left alone while it is down: one line a minute, and a rest between tries."""

from collections.abc import Iterator
from contextlib import contextmanager

from loguru import logger

from app.core.clock import Clock

# The errors that mean that the part did not answer.
type Failures = tuple[type[Exception], ...]

REST_SECONDS = 1.0
TELL_SECONDS = 60.0


class Resting(Exception):
    """The part failed a moment ago, or just now; its outage has been told."""


class Outage:
    """Whether a part of this process's surroundings is down, as its users found it.

    For a second after a failure nobody asks again: a server that hangs must not cost each request its timeout.
    """

    def __init__(self, part: str, clock: Clock, consequence: str, failures: Failures) -> None:
        self._part = part
        self._clock = clock
        self._consequence = consequence
        self._failures = failures
        self._rests_until: float | None = None
        self._told_at: float | None = None

    @contextmanager
    def noticed(self) -> Iterator[None]:
        """Ask the part within the block; Resting where it is down."""
        if self._rests_until is not None and self._clock.monotonic() < self._rests_until:
            raise Resting(self._part)
        try:
            yield
        except self._failures as error:
            self.failed(error)
            raise Resting(self._part) from error
        self.succeeded()

    def failed(self, error: BaseException) -> None:
        """Note that the part did not answer."""
        now = self._clock.monotonic()
        self._rests_until = now + REST_SECONDS
        if self._told_at is None or now - self._told_at >= TELL_SECONDS:
            self._told_at = now
            logger.warning(
                "{part} does not answer ({error}): {consequence}",
                part=self._part,
                error=type(error).__name__,
                consequence=self._consequence,
            )

    def succeeded(self) -> None:
        """Note that the part answered."""
        if self._rests_until is None:
            return
        self._rests_until = self._told_at = None
        logger.info("{part} answers again", part=self._part)
