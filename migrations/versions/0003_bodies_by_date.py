"""An index by which bodies are found whose days to keep are over: looking for them read all that were kept, each hour."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # On every partition there is, at about a million rows a second; couriers wait meanwhile, their journals keep everything.
    op.execute("CREATE INDEX bodies_keep_idx ON bodies (keep_until)")


def downgrade() -> None:
    op.execute("DROP INDEX bodies_keep_idx")
