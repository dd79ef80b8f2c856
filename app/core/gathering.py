"""What becomes of the errors of things that were done beside each other."""

from collections.abc import Iterable

from loguru import logger


def raise_first(outcomes: Iterable[object]) -> None:
    """Raise the first error among outcomes that `asyncio.gather` returned; the others are told in the log."""
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    for error in errors[1:]:
        logger.opt(exception=error).error("Failed too, beside what is raised")
    if errors:
        raise errors[0]
