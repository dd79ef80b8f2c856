"""What results by day, and pages of a status, need.

An index that is there already is passed over, and its table is not locked for it: on a large database it can be made
beforehand, concurrently.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

DAYS = "daily_analytics"
CHECKS = {
    "funding_finite": "funding > -1e20 AND funding < 1e20",
    "gross_profit_amount": "gross_profit >= 0 AND gross_profit < 1e20",
    "gross_loss_amount": "gross_loss >= 0 AND gross_loss < 1e20",
}


def upgrade() -> None:
    """Apply."""
    for name in ("funding", "gross_profit", "gross_loss"):
        amount = sa.Column(name, sa.Numeric(precision=38, scale=18), server_default="0", nullable=False)
        op.add_column(DAYS, amount)
    for name in ("trades_opened", "trades_lost"):
        op.add_column(DAYS, sa.Column(name, sa.Integer(), server_default="0", nullable=False))
    for name, condition in CHECKS.items():
        op.create_check_constraint(op.f(f"ck_{DAYS}_{name}"), DAYS, condition)
    op.create_table(
        "analytics_progress",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_analytics_progress_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_analytics_progress")),
    )
    _index_what_days_are_made_of()
    for table in ("orders", "trades"):
        _make_index(table, ["user_id", "status", "id"])


def _index_what_days_are_made_of() -> None:
    _make_index("fills", ["user_id", "created_at"])
    # The first column of the new one does its work.
    op.drop_index(op.f("ix_fills_user_id"), table_name="fills")
    for column in ("opened_at", "closed_at"):
        _make_index("trades", ["user_id", column], where=f"{column} IS NOT NULL")
    _make_index("funding_payments", ["venue_account_id", "created_at"])


def _make_index(table: str, columns: list[str], where: str | None = None) -> None:
    """Make an index that is not there, or not valid: then PostgreSQL says so.

    IF NOT EXISTS alone would lock the table first, up to the end, and meet transactions that lock several in their
    own order.
    """
    name, condition = f"ix_{table}_{'_'.join(columns)}", None if where is None else sa.text(where)
    is_script = op.get_context().as_sql
    if is_script or not _is_there(name):
        op.create_index(
            name, table, columns, unique=False, postgresql_where=condition, if_not_exists=is_script or None
        )


def _is_there(index: str) -> bool:
    query = sa.text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:index)")
    return op.get_bind().scalar(query, {"index": index}) is True


def downgrade() -> None:
    """Undo."""
    for table in ("trades", "orders"):
        op.drop_index(f"ix_{table}_user_id_status_id", table_name=table)
    op.drop_index("ix_funding_payments_venue_account_id_created_at", table_name="funding_payments")
    for column in ("closed_at", "opened_at"):
        op.drop_index(f"ix_trades_user_id_{column}", table_name="trades")
    op.create_index(op.f("ix_fills_user_id"), "fills", ["user_id"], unique=False)
    op.drop_index("ix_fills_user_id_created_at", table_name="fills")
    op.drop_table("analytics_progress")
    for name in CHECKS:
        op.drop_constraint(op.f(f"ck_{DAYS}_{name}"), DAYS)
    for name in ("trades_lost", "trades_opened", "gross_loss", "gross_profit", "funding"):
        op.drop_column(DAYS, name)
