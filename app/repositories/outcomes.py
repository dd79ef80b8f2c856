"""What a lost database means to an effect that was being written there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from sqlalchemy.exc import SQLAlchemyError

from app.core.database import is_passing, is_retryable, is_unavailable
from app.domain.errors import ProviderTimeout, Unavailable


@asynccontextmanager
async def unknown_when_lost(client_id: int) -> AsyncIterator[None]:
    """Raise ProviderTimeout for a database that was lost on the way, Unavailable for an effect surely undone."""
    try:
        yield
    except (SQLAlchemyError, asyncpg.PostgresError, OSError) as error:
        if is_retryable(error):
            raise Unavailable(code="PROVIDER_UNAVAILABLE", client_id=client_id) from error
        if is_unavailable(error):
            raise ProviderTimeout(client_id=client_id) from error
        raise


@asynccontextmanager
async def undone_when_lost(client_id: int) -> AsyncIterator[None]:
    """Raise Unavailable for a database that was lost, or held a row too long, before the effect itself was begun."""
    try:
        yield
    except (SQLAlchemyError, asyncpg.PostgresError, OSError) as error:
        if is_passing(error):
            raise Unavailable(code="PROVIDER_UNAVAILABLE", client_id=client_id) from error
        raise
