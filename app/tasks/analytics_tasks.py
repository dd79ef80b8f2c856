"""Jobs of results by day."""

from app.bootstrap import Container


async def roll_up(container: Container) -> None:
    """Bring the results of every user and day up to date; none are read stale, but those are computed again."""
    await container.analytics.roll_up()
