"""The declarative base, shared column types and the naming convention of constraints."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Dialect, MetaData, Numeric, String, func
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column
from sqlalchemy.types import TypeDecorator


class StoredEnum[E: StrEnum](TypeDecorator[E]):
    """A StrEnum kept as text; the table's CHECK, made by `enum_check`, refuses other values."""

    impl = String(24)
    cache_ok = True

    def __init__(self, enum: type[E]) -> None:
        super().__init__()
        self.enum = enum

    def process_bind_param(self, value: E | None, dialect: Dialect) -> str | None:
        """Store the value's text; raw text is checked by building the member."""
        return None if value is None else self.enum(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> E | None:
        """Read the text back as a member."""
        return None if value is None else self.enum(value)


def enum_check(column: str, enum: type[StrEnum]) -> CheckConstraint:
    """CHECK that a text column holds one of the enum's values."""
    values = ", ".join(f"'{member.value}'" for member in enum)
    return CheckConstraint(f"{column} IN ({values})", name=f"{column}_known")


# Any CHECK against a finite bound also refuses NaN and Infinity, which PostgreSQL sorts above every number.
LIMIT = "1e20"


def positive_check(column: str) -> CheckConstraint:
    """CHECK 0 < column < 1e20 (NULL passes; NaN and Infinity do not)."""
    return CheckConstraint(f"{column} > 0 AND {column} < {LIMIT}", name=f"{column}_positive")


def amount_check(column: str) -> CheckConstraint:
    """CHECK 0 <= column < 1e20 (NULL passes; NaN and Infinity do not)."""
    return CheckConstraint(f"{column} >= 0 AND {column} < {LIMIT}", name=f"{column}_amount")


def finite_check(column: str) -> CheckConstraint:
    """CHECK -1e20 < column < 1e20 (NULL passes; NaN and Infinity do not)."""
    return CheckConstraint(f"{column} > -{LIMIT} AND {column} < {LIMIT}", name=f"{column}_finite")


Id = Annotated[int, mapped_column(BigInteger, primary_key=True)]
Money = Annotated[Decimal, mapped_column(Numeric(38, 18))]
Instant = Annotated[datetime, mapped_column(DateTime(timezone=True))]
CreatedAt = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())]
UpdatedAt = Annotated[
    datetime,
    mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp(), onupdate=func.clock_timestamp()),
]


class Base(DeclarativeBase):
    """All tables; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, object]:  # noqa: N805 - called with the class
        """What the database sets itself is read back by RETURNING, so that no attribute is left to load later."""
        return {"eager_defaults": True}


class Timestamped:
    """created_at and updated_at by the database's clock."""

    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]
