"""Whether somebody watches a venue: what the lease of its order engine says."""

from dataclasses import dataclass
from datetime import timedelta

# Who takes over from a dead engine has begun to watch so long after its lease ended.
HAND_OVER = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class SeenLease:
    """A lease as it was when it was looked at.

    `ends_in` is what was left of it, below zero where it was over; None where nobody ever held it.
    """

    ends_in: timedelta | None

    def is_watched(self, age: timedelta) -> bool:
        """Whether an engine is there, or another is about to take over, as long after the look as `age`.

        A look that is not repeated ages until it says no.
        """
        return self.ends_in is not None and age < self.ends_in + HAND_OVER


def engine_lease(venue: str) -> str:
    """The name of the lease of a venue's order engine."""
    return f"engine:{venue}"
