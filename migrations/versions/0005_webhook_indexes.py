"""Deliveries of webhooks lose three indexes that each claim and each outcome was written to.

The oldest are found by their ids, pages are read by status, and no event is ever deleted.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

DELIVERIES = "webhook_deliveries"
INDEXES = (["created_at"], ["event_id"], ["webhook_config_id", "id"])


def upgrade() -> None:
    """Apply."""
    for columns in INDEXES:
        op.drop_index(f"ix_{DELIVERIES}_{'_'.join(columns)}", table_name=DELIVERIES)


def downgrade() -> None:
    """Undo."""
    for columns in INDEXES:
        op.create_index(f"ix_{DELIVERIES}_{'_'.join(columns)}", DELIVERIES, columns, unique=False)
