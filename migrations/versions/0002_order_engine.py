"""What the order engine needs under fire.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    _add_exit_terms()
    _create_control()
    op.create_index(
        "ix_trades_venue_account_id_live",
        "trades",
        ["venue_account_id", "pair_id"],
        unique=False,
        postgresql_where=sa.text("status IN ('pending', 'submitted', 'open', 'closing')"),
    )
    op.create_index(
        "ix_orders_user_id_live_entries",
        "orders",
        ["user_id", "id"],
        unique=False,
        postgresql_where=sa.text(
            "role = 'entry' AND status IN "
            "('pending', 'partially_filled', 'submitted', 'unknown', 'pending_cancel', 'pending_replace')"
        ),
    )
    op.create_index(
        "ix_orders_id_held", "orders", ["id"], unique=False, postgresql_where=sa.text("held_since IS NOT NULL")
    )


def downgrade() -> None:
    """Undo."""
    op.drop_index("ix_orders_user_id_watched", table_name="orders")
    op.drop_column("orders", "activated_sequence")
    op.drop_constraint(op.f("ck_pairs_price_protect_limit_range"), "pairs", type_="check")
    op.drop_column("pairs", "price_protect_limit")
    op.drop_index("ix_orders_id_held", table_name="orders")
    op.drop_index("ix_orders_user_id_live_entries", table_name="orders")
    op.drop_index("ix_trades_venue_account_id_live", table_name="trades")
    op.drop_table("dead_man_switches")
    op.drop_table("trading_state_changes")
    op.drop_table("trading_states")


def _create_control() -> None:
    instant = sa.DateTime(timezone=True)
    now = sa.text("clock_timestamp()")
    op.create_table(
        "trading_states",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("scope", sa.String(length=24), nullable=False),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("changed_by", sa.String(length=64), nullable=False),
        sa.Column("updated_at", instant, server_default=now, nullable=False),
        sa.CheckConstraint("scope IN ('global', 'venue', 'pair', 'user')", name=op.f("ck_trading_states_scope_known")),
        sa.CheckConstraint("state IN ('active', 'reducing', 'halted')", name=op.f("ck_trading_states_state_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trading_states")),
        sa.UniqueConstraint("scope", "key", name=op.f("uq_trading_states_scope_key")),
    )
    op.create_table(
        "trading_state_changes",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("scope", sa.String(length=24), nullable=False),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("old_state", sa.String(length=24), nullable=False),
        sa.Column("new_state", sa.String(length=24), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("changed_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", instant, server_default=now, nullable=False),
        sa.CheckConstraint(
            "scope IN ('global', 'venue', 'pair', 'user')", name=op.f("ck_trading_state_changes_scope_known")
        ),
        sa.CheckConstraint(
            "old_state IN ('active', 'reducing', 'halted')", name=op.f("ck_trading_state_changes_old_state_known")
        ),
        sa.CheckConstraint(
            "new_state IN ('active', 'reducing', 'halted')", name=op.f("ck_trading_state_changes_new_state_known")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trading_state_changes")),
    )
    op.create_table(
        "dead_man_switches",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("scope", sa.String(length=24), nullable=False),
        sa.Column("fires_at", instant, nullable=True),
        sa.Column("fired_at", instant, nullable=True),
        sa.Column("fired_scope", sa.String(length=24), nullable=True),
        sa.Column("next_run_at", instant, server_default=now, nullable=False),
        sa.Column("created_at", instant, server_default=now, nullable=False),
        sa.Column("updated_at", instant, server_default=now, nullable=False),
        sa.CheckConstraint("scope IN ('entries', 'all')", name=op.f("ck_dead_man_switches_scope_known")),
        sa.CheckConstraint("fired_scope IN ('entries', 'all')", name=op.f("ck_dead_man_switches_fired_scope_known")),
        sa.CheckConstraint(
            "(fired_at IS NULL) = (fired_scope IS NULL)", name=op.f("ck_dead_man_switches_firing_complete")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_dead_man_switches_user_id")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_dead_man_switches")),
    )
    for column in ("fires_at", "fired_at"):
        op.create_index(
            f"ix_dead_man_switches_{column}",
            "dead_man_switches",
            [column],
            unique=False,
            postgresql_where=sa.text(f"{column} IS NOT NULL"),
        )


def _add_exit_terms() -> None:
    op.add_column("pairs", sa.Column("price_protect_limit", sa.Numeric(38, 18), server_default="0.05", nullable=False))
    op.create_check_constraint(
        op.f("ck_pairs_price_protect_limit_range"), "pairs", "price_protect_limit > 0 AND price_protect_limit < 1"
    )
    op.add_column("orders", sa.Column("activated_sequence", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_orders_user_id_watched",
        "orders",
        ["user_id", "id"],
        unique=False,
        postgresql_where=sa.text("role = 'exit' AND status = 'pending'"),
    )
