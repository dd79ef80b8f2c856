"""What must hold of the books, and what it means when it does not."""

from dataclasses import dataclass
from enum import StrEnum


class InvariantKind(StrEnum):
    """When an invariant has to hold.

    ALWAYS: after every commit. SETTLED: once nothing is under way between us and a venue. DEADLINE: as long as the
    loops of a process run.
    """

    ALWAYS = "always"
    SETTLED = "settled"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that does not hold: how many rows break it, and the ids of the first few of them."""

    name: str
    kind: InvariantKind
    sentence: str
    count: int
    ids: tuple[int, ...]

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.ids) else ""
        return f"{self.name}: {self.sentence} ({self.count}: {', '.join(map(str, self.ids))}{more})"
