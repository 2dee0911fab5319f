"""Retention: content is deleted before proofs, and the usage, from which bills are made, outlives both.

`hub.store.database.tables` explains the columns.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("message", sa.Column("payload_deleted_at", NUMBER, nullable=True))
    for name, content in (("message_payload", "NULL"), ("message_proof", "NOT NULL")):
        where = sa.text(f"finished_at IS NOT NULL AND payload_deleted_at IS {content}")
        op.create_index(name, "message", ["tenant", "service", "finished_at"], sqlite_where=where,
                        postgresql_where=where)
    op.create_table("usage",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("count", NUMBER, nullable=False),
        sa.Column("first_at", NUMBER, nullable=False),
        sa.Column("last_at", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "service", "month", "destination", "kind"),
        sqlite_strict=True,
        sqlite_with_rowid=False
    )
