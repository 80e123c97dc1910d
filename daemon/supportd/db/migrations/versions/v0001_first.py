"""The first schema."""

from __future__ import annotations

from alembic import op

from supportd.db.schema import metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table; a later step changes them, and a test holds the sum of all steps to the schema."""
    metadata.create_all(op.get_bind())


def downgrade() -> None:
    """Drop every table."""
    metadata.drop_all(op.get_bind())
