"""What results by day, and pages of a status, need.

Each index is passed over where it is there already: on a large database it can be made beforehand, concurrently.

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
        name = f"ix_{table}_user_id_status_id"
        op.create_index(name, table, ["user_id", "status", "id"], unique=False, if_not_exists=True)


def _index_what_days_are_made_of() -> None:
    op.create_index("ix_fills_user_id_created_at", "fills", ["user_id", "created_at"], unique=False, if_not_exists=True)
    # The first column of the new one does its work.
    op.drop_index(op.f("ix_fills_user_id"), table_name="fills")
    for column in ("opened_at", "closed_at"):
        op.create_index(
            f"ix_trades_user_id_{column}",
            "trades",
            ["user_id", column],
            unique=False,
            postgresql_where=sa.text(f"{column} IS NOT NULL"),
            if_not_exists=True,
        )
    op.create_index(
        "ix_funding_payments_venue_account_id_created_at",
        "funding_payments",
        ["venue_account_id", "created_at"],
        unique=False,
        if_not_exists=True,
    )


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
