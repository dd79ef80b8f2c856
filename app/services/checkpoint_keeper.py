"""Makes what the order engine has judged durable, coalesced."""

import asyncio
from collections.abc import Mapping

from app.repositories.unit_of_work import UnitOfWorkFactory
from app.services.lease_keeper import LeaseLost
from app.services.pair_watch import PairWatch

CHECKPOINT_SECONDS = 0.1


async def keep_checkpoints(uow: UnitOfWorkFactory, watches: Mapping[int, PairWatch], token: int) -> None:
    """Write each pair's newest savable state under the fencing token, for ever; LeaseLost when one is refused."""
    while True:
        await asyncio.sleep(CHECKPOINT_SECONDS)
        states = [(watch, state) for watch in watches.values() if (state := watch.savable_state()) is not None]
        if not states:
            continue
        async with uow() as work:
            refused = await work.engine_state.save([state for _, state in states], token)
        if refused:
            raise LeaseLost("checkpoints were written by a newer holder")
        for watch, state in states:
            watch.saved(state)
