"""Leases: one holder at a time; who is let in later has a greater token, and who lost it is told."""

import asyncio

import pytest

from app.repositories.unit_of_work import UnitOfWork, UnitOfWorkFactory
from app.services import lease_keeper
from app.services.lease_keeper import LeaseKeeper, LeaseLost
from tests.logs import heard
from tests.waiting import until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll and renew quickly; a lease still lives its 3 s."""
    monkeypatch.setattr(lease_keeper, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(lease_keeper, "RENEW_SECONDS", 0.01)


def keeper(uow: UnitOfWorkFactory, name: str, holder: str, *, predecessor_is_dead: bool = False) -> LeaseKeeper:
    return LeaseKeeper(uow, name, holder, predecessor_is_dead=predecessor_is_dead)


class Tries:
    """Opens units of work, and counts them."""

    def __init__(self, uow: UnitOfWorkFactory) -> None:
        self._uow = uow
        self.count = 0

    def __call__(self) -> UnitOfWork:
        self.count += 1
        return self._uow()


async def test_the_second_waits_until_the_first_lets_go(uow: UnitOfWorkFactory) -> None:
    renewals, tries, waits = Tries(uow), Tries(uow), list[str]()
    first, second = keeper(renewals, "shared", "one"), keeper(tries, "shared", "two")
    with heard("INFO") as told:
        token = await first.take()
        holding = asyncio.create_task(first.hold(token))
        waiting = asyncio.create_task(second.take(on_wait=lambda: waits.append("stands by")))
        await until(lambda: tries.count > 5 and renewals.count > 5)
        assert not waiting.done()

        holding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holding

        assert await waiting > token
    assert waits == ["stands by"]
    assert told == [
        f"Watching shared with fence {token}\n",
        "Standing by: another process holds shared\n",
        f"Taken over: watching shared with fence {token + 1}\n",
    ]


async def test_a_dead_predecessors_lease_is_taken_at_once(uow: UnitOfWorkFactory) -> None:
    old = await keeper(uow, "inherited", "killed").take()

    new = await keeper(uow, "inherited", "heir", predecessor_is_dead=True).take()

    assert new > old


async def test_who_lost_the_lease_is_told(uow: UnitOfWorkFactory) -> None:
    first = keeper(uow, "lost", "one")
    token = await first.take()
    holding = asyncio.create_task(first.hold(token))
    await keeper(uow, "lost", "two", predecessor_is_dead=True).take()

    await until(holding.done)

    with pytest.raises(LeaseLost):
        holding.result()


async def test_only_the_first_take_believes_in_a_dead_predecessor(uow: UnitOfWorkFactory) -> None:
    heir = keeper(uow, "once", "heir", predecessor_is_dead=True)
    await heir.take()
    other = await keeper(uow, "once", "other", predecessor_is_dead=True).take()
    tries = Tries(uow)
    heir._uow = tries
    again = asyncio.create_task(heir.take())

    await until(lambda: tries.count > 5)
    assert not again.done()
    async with uow() as work:
        await work.engine_state.release_lease("once", other)

    assert await again > other
