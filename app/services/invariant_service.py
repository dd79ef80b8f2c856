"""Checks that the books hold together, and tells when they do not."""

from collections.abc import Sequence
from datetime import timedelta

from loguru import logger

from app.core.metrics import INVARIANT_VIOLATIONS
from app.domain.invariants import InvariantKind, Violation
from app.repositories.invariant_repository import GRACE, INVARIANTS, LATEST
from app.repositories.unit_of_work import UnitOfWorkFactory


class InvariantService:
    """One check sees one snapshot of the database, and changes nothing."""

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow

    async def check(
        self, *, is_full: bool = False, has_deadlines: bool = True, is_at_rest: bool = False
    ) -> list[Violation]:
        """What does not hold: of the newest rows, or of all of them (`is_full`).

        `has_deadlines`: ask too whether anything waits for longer than it should. `is_at_rest`: venues have told all
        that they did, so that what differs from them is not merely under way.
        """
        kinds = [kind for kind in InvariantKind if has_deadlines or kind is not InvariantKind.DEADLINE]
        async with self._uow() as work:
            await work.invariants.freeze()
            latest, grace = None if is_full else LATEST, timedelta(0) if is_at_rest else GRACE
            return await work.invariants.violations(kinds, latest=latest, grace=grace)

    async def check_and_tell(self) -> None:
        """Check once; each violation is logged and counted."""
        self._tell(await self.check())

    @staticmethod
    def _tell(violations: Sequence[Violation]) -> None:
        counts = {violation.name: violation.count for violation in violations}
        for invariant in INVARIANTS:
            INVARIANT_VIOLATIONS.labels(invariant.name).set(counts.get(invariant.name, 0))
        for violation in violations:
            logger.error("The books do not hold: {violation}", violation=str(violation))
