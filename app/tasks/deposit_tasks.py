"""Jobs of deposits and swaps."""

from datetime import timedelta

from loguru import logger

from app.bootstrap import Container
from app.core.metrics import CONVERSIONS_OVERDUE

OVERDUE = timedelta(hours=1)


async def watch_conversions(container: Container) -> None:
    """Tell of deposits and swaps that have had no end for an hour; it moves none of them."""
    async with container.uow() as work:
        deposits, swaps = await work.deposits.overdue(OVERDUE)
    CONVERSIONS_OVERDUE.labels("deposit").set(deposits)
    CONVERSIONS_OVERDUE.labels("swap").set(swaps)
    if deposits or swaps:
        logger.warning("{deposits} deposits and {swaps} swaps are overdue", deposits=deposits, swaps=swaps)
