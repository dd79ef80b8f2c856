"""Migrations: forth and back, equal to the models, one at a time, and what readiness says of them."""

import asyncio
import re
import sys

import asyncpg
from sqlalchemy.ext.asyncio import create_async_engine

from app.core import migrations
from app.core.database import Database
from app.models import Base
from tests.conftest import MakeDatabase

DESCRIPTION = """
SELECT 'column ' || table_name || '.' || column_name || ' ' || data_type || ' '
       || coalesce(character_maximum_length::text, numeric_precision || ',' || numeric_scale, '')
       || ' null=' || is_nullable || ' default=' || coalesce(column_default, '')
  FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'
UNION ALL
SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'
UNION ALL
SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'
"""
LEFT_BEHIND = """
SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'alembic%'
UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typname NOT LIKE '%alembic%'
"""


async def ask(url: str, query: str) -> set[str]:
    connection = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://", 1))
    try:
        return {row[0] for row in await connection.fetch(query)}
    finally:
        await connection.close()


async def test_migrations_go_forth_back_and_forth(empty_database: MakeDatabase) -> None:
    url = empty_database()

    await asyncio.to_thread(migrations.upgrade, url)
    first = await ask(url, DESCRIPTION)
    await asyncio.to_thread(migrations.check, url)
    await asyncio.to_thread(migrations.downgrade, url, "base")
    assert await ask(url, LEFT_BEHIND) == set()

    await asyncio.to_thread(migrations.upgrade, url)
    assert await ask(url, DESCRIPTION) == first


async def test_the_migrated_schema_is_that_of_the_models_to_the_last_constraint(
    new_database: MakeDatabase, empty_database: MakeDatabase
) -> None:
    migrated, created = new_database(), empty_database()
    engine = create_async_engine(created)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()

    assert await ask(migrated, DESCRIPTION) ^ await ask(created, DESCRIPTION) == set()


async def test_many_at_once_migrate_once(empty_database: MakeDatabase) -> None:
    url = empty_database()
    program = "import sys; from app.core.migrations import upgrade; upgrade(sys.argv[1])"
    processes = [await asyncio.create_subprocess_exec(sys.executable, "-c", program, url) for _ in range(3)]
    assert await asyncio.gather(*(process.wait() for process in processes)) == [0, 0, 0]

    assert await ask(url, "SELECT version_num FROM alembic_version") == {migrations.head()}


async def test_indexes_that_were_made_beforehand_wait_for_nobody_who_writes(empty_database: MakeDatabase) -> None:
    url = empty_database()
    await asyncio.to_thread(migrations.upgrade, url, "0003")
    connection = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://", 1))
    beforehand = (migrations.FOLDER.parent / "docs" / "migrations.md").read_text()
    made = re.findall(r"^CREATE INDEX CONCURRENTLY [^;]+;", beforehand, re.MULTILINE)
    assert len(made) == 6
    for statement in made:
        await connection.execute(statement)
    try:
        async with connection.transaction():
            # As whoever writes rows of them does.
            await connection.execute("LOCK TABLE orders, trades, funding_payments IN ROW EXCLUSIVE MODE")
            async with asyncio.timeout(60):
                await asyncio.to_thread(migrations.upgrade, url)
    finally:
        await connection.close()


async def test_a_database_tells_where_it_is(empty_database: MakeDatabase) -> None:
    url = empty_database()
    database = Database(url, application_name="test")

    assert await migrations.current(database) is None
    await asyncio.to_thread(migrations.upgrade, url)
    assert await migrations.current(database) == migrations.head()
    await database.aclose()


def test_revisions_are_numbered_without_a_gap() -> None:
    names = sorted(path.stem for path in (migrations.FOLDER / "versions").glob("[0-9]*.py"))
    assert [name.partition("_")[0] for name in names] == [f"{number:04}" for number in range(1, len(names) + 1)]
