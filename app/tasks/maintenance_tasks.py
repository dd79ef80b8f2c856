"""Jobs that keep the house."""

from loguru import logger

from app.bootstrap import Container
from app.services.invariant_service import InvariantService


async def ping(container: Container) -> None:
    """Tell that jobs are done. An example: add a coroutine, then a line in JOBS and, if it repeats, in the schedule."""
    await container.database.ping()
    logger.info("A job was done")


async def purge_idempotency(container: Container) -> None:
    """Forget idempotency keys that are old."""
    await container.idempotency.purge()


async def check_invariants(container: Container) -> None:
    """Check that the books hold together; what does not is logged and counted."""
    await InvariantService(container.uow).check_and_tell()
