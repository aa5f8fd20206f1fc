"""Predictions, and what came of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ID = sa.String(36).with_variant(sa.String(36, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "predictions",
        sa.Column("id", ID, primary_key=True),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("model_hash", sa.Text, nullable=False),
        sa.Column("revision", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("input", sa.Text, nullable=False),
        sa.Column("output", sa.Text, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("label", sa.Text),
        sa.Column("latency_us", sa.BigInteger, nullable=False),
        sa.Column("request_id", sa.Text),
    )
    op.create_index("predictions_of_project", "predictions", ["project", "id"])
    op.create_index("predictions_by_time", "predictions", ["time"])
    op.create_table(
        "feedback",
        sa.Column("id", ID, primary_key=True),
        sa.Column("prediction_id", ID, sa.ForeignKey("predictions.id", ondelete="CASCADE"), nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
    )
    op.create_index("feedback_of_prediction", "feedback", ["prediction_id", "id"])


def downgrade() -> None:
    """There is no version before."""
    raise NotImplementedError
