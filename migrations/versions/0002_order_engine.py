"""What the order engine needs under fire.

Revision ID: 0002
Revises: 0001
"""

from typing import Any

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
    _paper_fills()
    _paper_funding()
    _index_expiry("status IN ('pending', 'partially_filled')")
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
    _index_expiry("status = 'pending'")
    _drop_paper_funding()
    _drop_paper_fills()
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


def _index_expiry(condition: str) -> None:
    op.drop_index("ix_orders_expires_at", table_name="orders")
    op.create_index(
        "ix_orders_expires_at", "orders", ["expires_at"], unique=False, postgresql_where=sa.text(condition)
    )


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


def _amount(name: str, *, null: bool = False, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.Numeric(precision=38, scale=18), nullable=null, server_default=default)


def _is_positive(table: str, column: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{column} > 0 AND {column} < 1e20", name=op.f(f"ck_{table}_{column}_positive"))


def _is_amount(table: str, column: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{column} >= 0 AND {column} < 1e20", name=op.f(f"ck_{table}_{column}_amount"))


def _is_finite(table: str, column: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{column} > -1e20 AND {column} < 1e20", name=op.f(f"ck_{table}_{column}_finite"))


def _paper_status(statuses: str, live: str) -> None:
    op.drop_constraint(op.f("ck_paper_orders_status_known"), "paper_orders")
    op.create_check_constraint(op.f("ck_paper_orders_status_known"), "paper_orders", f"status IN ({statuses})")
    name = "ix_paper_orders_pair_id_live" if "working" in live else "ix_paper_orders_pair_id_resting"
    op.create_index(name, "paper_orders", ["pair_id"], unique=False, postgresql_where=sa.text(live))


def _paper_fills() -> None:
    """The fills of orders become rows; those of orders that filled at once are taken from the order."""
    op.create_table(
        "paper_fills",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.Column("position_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        *(_amount(name) for name in ("size", "price", "fee", "pnl", "mark_price")),
        *(_amount(name, null=True) for name in ("bid", "ask", "last")),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        *(_amount(name) for name in ("size_left", "margin_left", "liquidation_price")),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        *(_is_positive("paper_fills", name) for name in ("size", "price", "mark_price", "bid", "ask", "last")),
        *(_is_amount("paper_fills", name) for name in ("fee", "size_left", "margin_left", "liquidation_price")),
        _is_finite("paper_fills", "pnl"),
        sa.ForeignKeyConstraint(["order_id"], ["paper_orders.id"], name=op.f("fk_paper_fills_order_id")),
        sa.ForeignKeyConstraint(["position_id"], ["paper_positions.id"], name=op.f("fk_paper_fills_position_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paper_fills")),
        sa.UniqueConstraint("order_id", "number", name=op.f("uq_paper_fills_order_id_number")),
    )
    op.create_index(op.f("ix_paper_fills_position_id"), "paper_fills", ["position_id"], unique=False)
    op.add_column("paper_positions", sa.Column("closed_sequence", sa.BigInteger(), nullable=True))
    for column in (_amount("filled", default="0"), *map(_paper_count, ("fill_count", "parts", "settle_ticks"))):
        op.add_column("paper_orders", column)
    for name in ("reference_price", "max_slippage", "stop_price", "take_profit_price"):
        op.add_column("paper_orders", _amount(name, null=True))
    op.drop_index("ix_paper_orders_pair_id_resting", table_name="paper_orders")
    _paper_status("'working', 'resting', 'filled', 'cancelled', 'rejected'", "status IN ('working', 'resting')")
    for check, condition in _PAPER_ORDER_CHECKS.items():
        op.create_check_constraint(op.f(f"ck_paper_orders_{check}"), "paper_orders", condition)
    op.execute(
        "INSERT INTO paper_fills (order_id, position_id, number, size, price, fee, pnl, mark_price, sequence,"
        " size_left, margin_left, liquidation_price, at)"
        " SELECT o.id, p.id, 0, o.size, o.fill_price, o.fee, o.pnl, o.mark_price, o.fill_sequence, o.size_left,"
        " o.margin_left, CASE WHEN o.size_left = 0 THEN 0 ELSE p.liquidation_price END, o.filled_at"
        " FROM paper_orders o JOIN paper_positions p ON p.id = o.position_id WHERE o.status = 'filled'"
        " ORDER BY o.filled_at, o.id"
    )
    op.execute("UPDATE paper_orders SET filled = size, fill_count = 1 WHERE status = 'filled'")
    for name in _IN_FILLS:
        op.drop_column("paper_orders", name)
    op.execute(
        "UPDATE paper_positions p SET closed_sequence = f.sequence FROM paper_fills f"
        " WHERE f.position_id = p.id AND f.size_left = 0 AND p.status <> 'open'"
    )


def _drop_paper_fills() -> None:
    """Fails while an order works or has filled in parts: the former tables cannot tell of it."""
    op.create_check_constraint(op.f("ck_paper_orders_no_parts"), "paper_orders", "fill_count <= 1")
    op.drop_constraint(op.f("ck_paper_orders_no_parts"), "paper_orders")
    op.drop_index("ix_paper_orders_pair_id_live", table_name="paper_orders")
    _paper_status("'resting', 'filled', 'cancelled', 'rejected'", "status = 'resting'")
    for check in _PAPER_ORDER_CHECKS:
        op.drop_constraint(op.f(f"ck_paper_orders_{check}"), "paper_orders")
    for name in ("take_profit_price", "stop_price", "max_slippage", "reference_price"):
        op.drop_column("paper_orders", name)
    for name in ("settle_ticks", "parts", "fill_count", "filled"):
        op.drop_column("paper_orders", name)
    for name in _IN_FILLS:
        op.add_column("paper_orders", _amount(name, null=True))
        rule = _is_positive if name == "mark_price" else _is_amount
        constraint = rule("paper_orders", name)
        op.create_check_constraint(str(constraint.name), "paper_orders", constraint.sqltext)
    op.execute(
        "UPDATE paper_orders o SET mark_price = f.mark_price, size_left = f.size_left, margin_left = f.margin_left"
        " FROM paper_fills f WHERE f.order_id = o.id"
    )
    op.drop_column("paper_positions", "closed_sequence")
    op.drop_table("paper_fills")


def _paper_count(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), server_default="1" if name == "parts" else "0", nullable=False)


# What of an order's one fill stood on the order itself.
_IN_FILLS = ("mark_price", "size_left", "margin_left")
_PAPER_ORDER_CHECKS = {
    "filled_amount": "filled >= 0 AND filled < 1e20",
    "not_overfilled": "filled <= size",
    "parts_positive": "parts > 0",
    "settle_ticks_amount": "settle_ticks >= 0",
    "reference_price_positive": "reference_price > 0 AND reference_price < 1e20",
    "max_slippage_amount": "max_slippage >= 0 AND max_slippage < 1e20",
    "stop_price_positive": "stop_price > 0 AND stop_price < 1e20",
    "take_profit_price_positive": "take_profit_price > 0 AND take_profit_price < 1e20",
}


def _paper_funding() -> None:
    op.create_table(
        "paper_funding",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("position_id", sa.BigInteger(), nullable=False),
        sa.Column("instant", sa.DateTime(timezone=True), nullable=False),
        *(_amount(name) for name in ("rate", "size", "mark_price", "amount")),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        *(_amount(name) for name in ("margin_left", "liquidation_price")),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        *(_is_finite("paper_funding", name) for name in ("rate", "amount")),
        *(_is_positive("paper_funding", name) for name in ("size", "mark_price")),
        *(_is_amount("paper_funding", name) for name in ("margin_left", "liquidation_price")),
        sa.ForeignKeyConstraint(["position_id"], ["paper_positions.id"], name=op.f("fk_paper_funding_position_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paper_funding")),
        sa.UniqueConstraint("position_id", "instant", name=op.f("uq_paper_funding_position_id_instant")),
    )
    op.create_table(
        "paper_funding_marks",
        sa.Column("pair_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("instant", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name=op.f("fk_paper_funding_marks_pair_id")),
        sa.PrimaryKeyConstraint("pair_id", name=op.f("pk_paper_funding_marks")),
    )
    op.create_table(
        "funding_payments",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("trade_id", sa.BigInteger(), nullable=False),
        sa.Column("venue_account_id", sa.BigInteger(), nullable=False),
        sa.Column("venue_trade_index", sa.String(length=64), nullable=False),
        sa.Column("instant", sa.DateTime(timezone=True), nullable=False),
        *(_amount(name) for name in ("amount", "rate", "size", "mark_price")),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        *(_is_finite("funding_payments", name) for name in ("amount", "rate")),
        *(_is_positive("funding_payments", name) for name in ("size", "mark_price")),
        sa.ForeignKeyConstraint(["trade_id"], ["trades.id"], name=op.f("fk_funding_payments_trade_id")),
        sa.ForeignKeyConstraint(
            ["venue_account_id"], ["venue_accounts.id"], name=op.f("fk_funding_payments_venue_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_funding_payments")),
        sa.UniqueConstraint("trade_id", "instant", name=op.f("uq_funding_payments_trade_id_instant")),
    )
    op.create_index(
        "ix_funding_payments_venue_account_id_venue_trade_index",
        "funding_payments",
        ["venue_account_id", "venue_trade_index", "instant"],
        unique=False,
    )
    op.add_column("trades", _amount("funding", default="0"))
    op.create_check_constraint(op.f("ck_trades_funding_finite"), "trades", "funding > -1e20 AND funding < 1e20")


def _drop_paper_funding() -> None:
    op.drop_constraint(op.f("ck_trades_funding_finite"), "trades")
    op.drop_column("trades", "funding")
    op.drop_table("funding_payments")
    op.drop_table("paper_funding_marks")
    op.drop_table("paper_funding")
