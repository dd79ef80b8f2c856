"""What the delivery of webhooks needs.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ENDPOINT_INSTANTS = ("previous_until", "failing_since", "paused_until", "disabled_at")
DELIVERIES = "webhook_deliveries"


def upgrade() -> None:
    """Apply."""
    op.add_column("webhook_configurations", sa.Column("secret_previous", sa.Text(), nullable=True))
    op.add_column(
        "webhook_configurations", sa.Column("secret_hint", sa.String(length=8), server_default="", nullable=False)
    )
    op.add_column("webhook_configurations", sa.Column("disabled_reason", sa.String(length=24), nullable=True))
    for name in ENDPOINT_INSTANTS:
        op.add_column("webhook_configurations", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.add_column(DELIVERIES, sa.Column("last_error", sa.String(length=32), nullable=True))
    op.add_column(DELIVERIES, sa.Column("attempts_before", sa.Integer(), server_default="0", nullable=False))
    op.add_column(DELIVERIES, sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column(DELIVERIES, sa.Column("claimed_by", sa.String(length=32), nullable=True))
    _index_deliveries()
    op.create_table(
        "webhook_attempts",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("delivery_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("url", sa.String(length=2048), nullable=False),
        sa.Column("request_headers", sa.Text(), nullable=False),
        sa.Column("response_code", sa.SmallInteger(), nullable=True),
        sa.Column("response_body", sa.Text(), nullable=True),
        sa.Column("error", sa.String(length=32), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["webhook_deliveries.id"],
            name=op.f("fk_webhook_attempts_delivery_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_attempts")),
    )
    op.create_index(op.f("ix_webhook_attempts_delivery_id"), "webhook_attempts", ["delivery_id"], unique=False)


def _index_deliveries() -> None:
    op.drop_index("ix_webhook_deliveries_next_run_at", table_name=DELIVERIES)
    op.drop_index(op.f("ix_webhook_deliveries_webhook_config_id"), table_name=DELIVERIES)
    op.create_index(
        "ix_webhook_deliveries_due",
        DELIVERIES,
        ["webhook_config_id", "next_run_at", "id"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "ix_webhook_deliveries_leased",
        DELIVERIES,
        ["webhook_config_id", "lease_until"],
        unique=False,
        postgresql_where=sa.text("lease_until IS NOT NULL"),
    )
    op.create_index("ix_webhook_deliveries_webhook_config_id_id", DELIVERIES, ["webhook_config_id", "id"], unique=False)
    op.create_index(
        "ix_webhook_deliveries_webhook_config_id_status_id",
        DELIVERIES,
        ["webhook_config_id", "status", "id"],
        unique=False,
    )
    op.create_index("ix_webhook_deliveries_created_at", DELIVERIES, ["created_at"], unique=False)


def downgrade() -> None:
    """Undo."""
    op.drop_table("webhook_attempts")
    for name in ("created_at", "webhook_config_id_status_id", "webhook_config_id_id", "leased", "due"):
        op.drop_index(f"ix_webhook_deliveries_{name}", table_name=DELIVERIES)
    op.create_index(op.f("ix_webhook_deliveries_webhook_config_id"), DELIVERIES, ["webhook_config_id"], unique=False)
    op.create_index(
        "ix_webhook_deliveries_next_run_at",
        DELIVERIES,
        ["next_run_at"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
    )
    for name in ("claimed_by", "lease_until", "attempts_before", "last_error"):
        op.drop_column(DELIVERIES, name)
    for name in (*ENDPOINT_INSTANTS, "disabled_reason", "secret_hint", "secret_previous"):
        op.drop_column("webhook_configurations", name)
