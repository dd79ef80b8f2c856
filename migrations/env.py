"""Alembic's environment: one connection, one transaction, one migrating process at a time."""

import asyncio
import os
from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from app.models import Base
from app.models.base import StoredEnum

# Any number will do that no other program takes as an advisory lock in the same database.
LOCK = 0x6D617271


def database_url() -> str:
    """The url given by the caller; DATABASE_URL when alembic itself is the program."""
    url = context.config.attributes.get("database_url") or os.environ.get("DATABASE_URL")
    if not url:
        raise SystemExit("set DATABASE_URL, or use `marqetfi migrate`")
    return str(url)


def render_item(kind: str, item: object, _context: AutogenContext) -> str | Literal[False]:
    """Write an enum column as the text that it is, so that migrations do not depend on today's code."""
    if kind == "type" and isinstance(item, StoredEnum):
        return f"sa.String(length={item.impl.length})"
    return False


def migrate(connection: Connection) -> None:
    """Run what was asked for while holding the lock."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_server_default=True,
        render_item=render_item,
    )
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        context.run_migrations()


async def run() -> None:
    """Open the connection that migrations run on."""
    engine = create_async_engine(database_url(), poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


if context.is_offline_mode():
    context.configure(url=database_url(), target_metadata=Base.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    asyncio.run(run())
