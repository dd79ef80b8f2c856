"""Holds a lease row: one engine at a time watches a venue's pairs, and its fencing token guards what it writes."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from loguru import logger

from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory

LIFE = timedelta(seconds=3)
RENEW_SECONDS = 1.0
POLL_SECONDS = 0.5


class LeaseLost(Exception):
    """Another holder has taken the lease."""


class LeaseKeeper:
    """Takes, renews and releases one lease.

    `predecessor_is_dead` is given where a lock proves that no other holder lives, so that its lease is taken at once.
    """

    def __init__(self, uow: UnitOfWorkFactory, name: str, holder: str, *, predecessor_is_dead: bool) -> None:
        self._uow = uow
        self._name = name
        self._holder = holder
        self._predecessor_is_dead = predecessor_is_dead
        # Whether another holder had the lease when we last asked for it.
        self.is_standing_by = False

    async def take(self, on_wait: Callable[[], None] | None = None) -> int:
        """Wait until the lease is ours; its token. `on_wait` is called once when another holds it."""
        while True:
            token = await self.try_take()
            if token is not None:
                word = "Taken over: watching" if self.is_standing_by else "Watching"
                logger.info("{word} {lease} with fence {fence}", word=word, lease=self._name, fence=token)
                self.is_standing_by = False
                return token
            if not self.is_standing_by:
                logger.info("Standing by: another process holds {lease}", lease=self._name)
                if on_wait is not None:
                    on_wait()
            self.is_standing_by = True
            await asyncio.sleep(POLL_SECONDS)

    async def try_take(self) -> int | None:
        """Take the lease if nobody holds it; its token."""
        async with self._uow() as work:
            token = await work.engine_state.take_lease(
                self._name, self._holder, LIFE, predecessor_is_dead=self._predecessor_is_dead
            )
        if token is not None:
            self._predecessor_is_dead = False
        return token

    async def renew(self, token: int) -> None:
        """Hold on to the lease for another while; LeaseLost when a newer holder has it."""
        async with self._uow() as work:
            if not await work.engine_state.renew_lease(self._name, token, LIFE):
                raise LeaseLost(self._name)

    async def fence(self, work: UnitOfWork, token: int) -> None:
        """Let what a transaction writes be written only by the holder: LeaseLost where another has taken over."""
        if not await work.engine_state.confirm_lease(self._name, token):
            raise LeaseLost(self._name)

    async def hold(self, token: int) -> None:
        """Renew until cancelled, then let go; raises LeaseLost when another holder has taken over."""
        try:
            while True:
                await asyncio.sleep(RENEW_SECONDS)
                await self.renew(token)
        except asyncio.CancelledError:
            async with self._uow() as work:
                await work.engine_state.release_lease(self._name, token)
            raise
