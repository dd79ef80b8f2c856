"""Jobs of trading: settlement, order engines, pairs and prices."""

from app.bootstrap import Container
from app.wiring import SETTLE_TOPIC


async def settle(container: Container) -> None:
    """Have settlement look now, in whichever engine it runs.

    It is not done here: sending what was never sent needs the prices that an engine has, and this process may not.
    """
    async with container.uow() as work:
        work.hint(SETTLE_TOPIC, b"")


async def watch_orders(container: Container) -> None:
    """Tell where no order engine watches, or one stands still."""
    await container.engines.check()


async def refresh_prices(container: Container) -> None:
    """Ask each venue for its pairs, and keep the prices that this process has seen for those that have seen none."""
    for name in container.router.venues:
        await container.directory.refresh(await container.router.get_provider(name))
    await container.price_cache.write()
