"""Several nodes on one PostgreSQL: a table of nodes, and large bodies as chunks.

In SQLite both tables stay empty.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table("node",
        sa.Column("fencing", NUMBER, autoincrement=False, nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("started_at", NUMBER, nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("beat", NUMBER, nullable=False),
        sa.Column("beat_at", NUMBER, nullable=False),
        sa.Column("ended_at", NUMBER, nullable=True),
        sa.Column("ended", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("fencing"),
        sqlite_strict=True
    )
    alive = sa.text("ended_at IS NULL")
    op.create_index("node_alive", "node", ["fencing"], sqlite_where=alive, postgresql_where=alive)
    op.create_table("chunk",
        sa.Column("blob_id", sa.Text(), nullable=False),
        sa.Column("no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["blob_id"], ["blob.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("blob_id", "no"), sqlite_strict=True,
        sqlite_with_rowid=False
    )
    if op.get_bind().dialect.name == "postgresql":
        _by_bytes()
        op.execute("CREATE FUNCTION event_is_final() RETURNS trigger LANGUAGE plpgsql AS "
                   "$$ BEGIN RAISE EXCEPTION 'events are final'; END $$")
        op.execute("CREATE TRIGGER event_is_final BEFORE UPDATE ON event FOR EACH ROW EXECUTE FUNCTION "
                   "event_is_final()")


def _by_bytes() -> None:
    """Compare ids by their bytes, and do not compress chunks.

    The beginning of an id is searched as a range, and a range must not depend on the order of letters in a
    language. Large bodies are mostly compressed already (PDF, pictures).
    """
    for table in ("message", "delivery"):
        op.execute(f'ALTER TABLE {table} ALTER COLUMN id TYPE text COLLATE "C"')
    op.execute("ALTER TABLE chunk ALTER COLUMN content SET STORAGE EXTERNAL")
