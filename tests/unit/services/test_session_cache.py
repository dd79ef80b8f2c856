"""Sessions that are kept: as long as they are fresh and not over, and not once they are forgotten."""

from datetime import timedelta
from uuid import uuid4

import pytest

from app.core.cache import MemoryCache
from app.core.cache_keys import SESSION_SECONDS, session_key, varied
from app.domain.enums import FeatureAccessLevel
from app.models.auth import Session
from app.models.user import User
from app.services.session_cache import SessionCache
from tests.fakes import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def cache(clock: ManualClock) -> MemoryCache:
    return MemoryCache(clock)


@pytest.fixture
def user() -> User:
    return User(
        id=7,
        email="a@example.com",
        feature_access_level=FeatureAccessLevel.TRADE,
        is_superuser=False,
        is_sandbox=True,
    )


def session_that_ends_in(clock: ManualClock, seconds: float) -> Session:
    return Session(public_id=uuid4(), user_id=7, expires_at=clock.now() + timedelta(seconds=seconds))


async def test_what_was_read_is_found_for_a_minute(clock: ManualClock, cache: MemoryCache, user: User) -> None:
    known, session = SessionCache(cache, clock), session_that_ends_in(clock, 3600)
    await known.keep(session, user)
    clock.advance(59.9)

    found = await known.find(session.public_id)

    assert found is not None
    assert (found["id"], found["permissions"], found["feature_access_level"]) == (7, ["trade"], "trade")
    clock.advance(0.2)
    assert await known.find(session.public_id) is None
    assert await cache.get(session_key(session.public_id)) is not None


async def test_a_session_that_is_over_is_not_found(clock: ManualClock, cache: MemoryCache, user: User) -> None:
    known, session = SessionCache(cache, clock), session_that_ends_in(clock, 10)
    await known.keep(session, user)
    clock.advance(10)
    assert await known.find(session.public_id) is None


async def test_a_session_that_is_forgotten_is_not_found(clock: ManualClock, cache: MemoryCache, user: User) -> None:
    known, session = SessionCache(cache, clock), session_that_ends_in(clock, 3600)
    await known.keep(session, user)
    await known.forget(session.public_id)
    assert await known.find(session.public_id) is None


async def test_without_a_cache_nothing_is_kept(clock: ManualClock, user: User) -> None:
    known, session = SessionCache(None, clock), session_that_ends_in(clock, 3600)
    assert (await known.keep(session, user))["id"] == 7
    assert await known.find(session.public_id) is None
    await known.forget(session.public_id)


def test_lives_vary_by_a_tenth() -> None:
    lives = {varied(SESSION_SECONDS) for _ in range(200)}
    assert 1620 <= min(lives) < 1750
    assert 1850 < max(lives) <= 1980
