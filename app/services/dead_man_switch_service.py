"""Dead man's switches: who no longer reports has their resting orders cancelled, also after a restart."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from loguru import logger

from app.core.database import DatabaseError, is_locked
from app.core.gathering import raise_first
from app.domain.enums import SwitchScope
from app.models.control import DeadManSwitch
from app.models.trading import Order
from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services.resting_cancels import BATCH, RestingCancels

REASON = "cancel_all_after"
# Firings at a time: fewer than the engine has connections, since one that waits for a row keeps one.
AT_ONCE = 8
WATCH_SECONDS = 0.5
# What a firing could not end yet (an entry on its way, a halted market) is looked at again after this.
AGAIN_AFTER = timedelta(seconds=2)
# A firing that takes longer makes room for others: what it has cancelled so far is done, the rest is taken up again.
FIRING_SECONDS = 10.0


class DeadManSwitchService:
    """One switch a user, on the database's clock."""

    def __init__(
        self,
        uow: UnitOfWorkFactory,
        cancels: RestingCancels,
        *,
        firing_seconds: float = FIRING_SECONDS,
        at_once: int = AT_ONCE,
    ) -> None:
        self._uow = uow
        self._cancels = cancels
        self._firing_seconds = firing_seconds
        self._at_once = at_once
        # The firings under way here, by user.
        self._firing: dict[int, asyncio.Task[None]] = {}

    async def arm(self, user_id: int, timeout_seconds: int, scope: SwitchScope) -> DeadManSwitch | None:
        """Let the switch fire so many seconds from now, anew where it is armed; 0 disarms, and answers None.

        A switch that has fired already finishes its work on the orders of before.
        """
        after = timedelta(seconds=timeout_seconds) if timeout_seconds else None
        async with self._uow() as work:
            return await work.switches.arm(user_id, scope, after)

    async def of_user(self, user_id: int) -> DeadManSwitch | None:
        """A user's switch as it stands; None where none is armed or firing."""
        async with self._uow() as work:
            return await work.switches.of_user(user_id)

    async def fire_due(self) -> int:
        """One pass, to the end of all that it began; how many those were. The first error is raised when all ended."""
        begun = await self._begin_due()
        raise_first(await asyncio.gather(*begun, return_exceptions=True))
        return len(begun)

    async def watch(self) -> None:
        """Fire what is due, forever; a firing that is stuck, or fails, holds up nobody else's."""
        try:
            while True:
                await self._begin_due()
                await asyncio.sleep(WATCH_SECONDS)
        finally:
            await self._stop()

    async def _begin_due(self) -> Sequence[asyncio.Task[None]]:
        """Begin the work of switches whose time has come, and of those that a crash interrupted, as room allows."""
        room = self._at_once - len(self._firing)
        if not room:
            return []
        async with self._uow() as work:
            due = await work.switches.take_due(room, AGAIN_AFTER, besides=self._firing.keys())
        begun = [asyncio.create_task(self._fire_in_time(switch)) for switch in due]
        for switch, task in zip(due, begun, strict=True):
            self._firing[switch.user_id] = task
            task.add_done_callback(partial(self._ended, switch.user_id))
        return begun

    def _ended(self, user_id: int, task: asyncio.Task[None]) -> None:
        del self._firing[user_id]
        if not task.cancelled() and task.exception() is not None:
            logger.opt(exception=task.exception()).error(
                "The switch of user {user} could not be fired; it is tried again", user=user_id
            )

    async def _stop(self) -> None:
        firing = tuple(self._firing.values())
        for task in firing:
            task.cancel()
        await asyncio.gather(*firing, return_exceptions=True)

    async def _fire_in_time(self, switch: DeadManSwitch) -> None:
        until = switch.fired_at
        if until is None:
            return
        try:
            async with asyncio.timeout(self._firing_seconds):
                await self._fire(switch, until)
                await self._finish(switch, until)
        except TimeoutError:
            logger.warning("The switch of user {user} takes long; its firing goes on later", user=switch.user_id)
        except DatabaseError as error:
            if not is_locked(error):
                raise
            logger.warning("An order of user {user} is being written; the switch waits for it", user=switch.user_id)

    async def _fire(self, switch: DeadManSwitch, until: datetime) -> None:
        entries = await self._cancels.cancel(partial(_entries, switch.user_id, until), REASON)
        if switch.fired_scope is SwitchScope.ALL:
            await self._cancels.cancel(partial(_exits, switch.user_id, until), REASON)
        await entries.sent()

    async def _finish(self, switch: DeadManSwitch, until: datetime) -> None:
        """Let the switch go where nothing of its firing is left, nor could appear when a transaction ends."""
        async with self._uow() as work:
            if not await work.venue_accounts.lock_all_of(switch.user_id):
                return
            is_over = not await work.exposure.has_entries(switch.user_id, until)
            if switch.fired_scope is SwitchScope.ALL:
                is_over = is_over and not await work.exposure.exits_of(switch.user_id, until, 0, 1)
            if is_over:
                await work.switches.finish(switch)


async def _entries(user_id: int, until: datetime, work: UnitOfWork, after: int) -> Sequence[Order]:
    return await work.exposure.entries_of(user_id, until, after, BATCH)


async def _exits(user_id: int, until: datetime, work: UnitOfWork, after: int) -> Sequence[Order]:
    return await work.exposure.exits_of(user_id, until, after, BATCH)
