"""Fills of the paper venue tell the entry price of their position after them, from which its PnL counts.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

FILLS = "paper_fills"
POSITIVE = "entry_price > 0 AND entry_price < 1e20"


def upgrade() -> None:
    """Apply."""
    op.add_column(FILLS, sa.Column("entry_price", sa.Numeric(38, 18), nullable=True))
    op.create_check_constraint("entry_price_positive", FILLS, POSITIVE)


def downgrade() -> None:
    """Undo."""
    op.drop_column(FILLS, "entry_price")
