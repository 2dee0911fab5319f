"""The first schema. `hub.store.database.tables` explains the columns."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make every table. Larger than the measure: a migration is a snapshot, and never changes again."""
    op.create_table("action",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at", NUMBER, nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("verb", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True
    )
    op.create_table("duplicate",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("content_digest", sa.Text(), nullable=False),
        sa.Column("kept_until", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("key"),
        sqlite_strict=True,
        sqlite_with_rowid=False
    )
    op.create_index("duplicate_kept_until", "duplicate", ["kept_until"])
    op.create_table("event",
        sa.Column("no", NUMBER, nullable=False),
        sa.Column("at", NUMBER, nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("delivery_id", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("who", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("no"),
        sqlite_strict=True
    )
    op.create_index("event_by_message", "event", ["message_id", "no"])
    op.create_table("message",
        sa.Column("no", NUMBER, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("ags", sa.Text(), nullable=False),
        sa.Column("ars", sa.Text(), nullable=True),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("inlet", sa.Text(), nullable=False),
        sa.Column("test", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("received_at", NUMBER, nullable=False),
        sa.Column("accepted_day", sa.Text(), nullable=False),
        sa.Column("finished_at", NUMBER, nullable=True),
        sa.Column("case", sa.Text(), nullable=True),
        sa.Column("correlation", sa.Text(), nullable=True),
        sa.Column("reply_to", sa.Text(), nullable=True),
        sa.Column("order_key", sa.Text(), nullable=True),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("content_digest", sa.Text(), nullable=False),
        sa.Column("canonical_digest", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("form_id", sa.Text(), nullable=True),
        sa.Column("form_name", sa.Text(), nullable=True),
        sa.Column("form_version", sa.Text(), nullable=True),
        sa.Column("mandant", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("reason_text", sa.Text(), nullable=True),
        sa.Column("trace", sa.Text(), nullable=True),
        sa.Column("rule", sa.Text(), nullable=True),
        sa.Column("config_digest", sa.Text(), nullable=False),
        sa.Column("mapping_digest", sa.Text(), nullable=True),
        sa.Column("deaths", sa.Integer(), server_default="0", nullable=False),
        sa.Column("suspect", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_until", NUMBER, server_default="0", nullable=False),
        sa.Column("lease_fencing", NUMBER, server_default="0", nullable=False),
        sa.CheckConstraint("state IN ('received', 'routed', 'deferred', 'parked', 'completed', 'discarded')",
                           name="message_state"),
        sa.PrimaryKeyConstraint("no"),
        sa.UniqueConstraint("id"),
        sqlite_strict=True
    )
    op.create_index("message_by_ags", "message", ["ags", "no"])
    where = sa.text("state IN ('received', 'deferred', 'routed')")
    op.create_index("message_open", "message", ["received_at"],
                    sqlite_where=where, postgresql_where=where)
    where = sa.text("state = 'received'")
    op.create_index("message_waiting", "message", ["suspect", "lease_until", "no"],
                    sqlite_where=where, postgresql_where=where)
    op.create_table("store",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fencing", NUMBER, nullable=False),
        sa.Column("clean", sa.Integer(), nullable=False),
        sa.Column("opened_at", NUMBER, nullable=False),
        sa.CheckConstraint("id = 1",
                           name="store_one_row"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True
    )
    op.create_table("tally",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("count", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("kind", "service", "destination", "name"),
        sqlite_strict=True,
        sqlite_with_rowid=False
    )
    op.create_table("blob",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("size", NUMBER, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"]),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True
    )
    op.create_index("blob_by_message", "blob", ["message_id"])
    op.create_table("delivery",
        sa.Column("no", NUMBER, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("ags", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("test", sa.Integer(), nullable=False),
        sa.Column("case", sa.Text(), nullable=True),
        sa.Column("order_key", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", NUMBER, nullable=False),
        sa.Column("first_due_at", NUMBER, nullable=False),
        sa.Column("due_at", NUMBER, nullable=True),
        sa.Column("fresh", sa.Integer(), server_default="1", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("effect_at", NUMBER, nullable=True),
        sa.Column("repeat_marked", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("reason_text", sa.Text(), nullable=True),
        sa.Column("receipt", sa.Text(), nullable=True),
        sa.Column("finished_at", NUMBER, nullable=True),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("config_digest", sa.Text(), nullable=False),
        sa.Column("mapping_digest", sa.Text(), nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_until", NUMBER, nullable=True),
        sa.Column("lease_fencing", NUMBER, server_default="0", nullable=False),
        sa.CheckConstraint("state IN ('due', 'delivering', 'in_doubt', 'done', 'parked', 'discarded')",
                           name="delivery_state"),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"]),
        sa.PrimaryKeyConstraint("no"),
        sa.UniqueConstraint("id"),
        sqlite_strict=True
    )
    op.create_index("delivery_by_message", "delivery", ["message_id"])
    where = sa.text("lease_until IS NOT NULL")
    op.create_index("delivery_leased", "delivery", ["lease_until"],
                    sqlite_where=where, postgresql_where=where)
    where = sa.text("state IN ('due', 'delivering', 'in_doubt')")
    op.create_index("delivery_open", "delivery", ["destination", "created_at"],
                    sqlite_where=where, postgresql_where=where)
    where = sa.text("due_at IS NOT NULL")
    op.create_index("delivery_waiting", "delivery", ["destination", "fresh", "due_at", "no"],
                    sqlite_where=where, postgresql_where=where)
    op.create_table("part",
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("no", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("field", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=True),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", NUMBER, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("blob", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"]),
        sa.PrimaryKeyConstraint("message_id", "no"),
        sqlite_strict=True,
        sqlite_with_rowid=False
    )
    _protect_history()


def _protect_history() -> None:
    """Let the database refuse any change of an event."""
    if op.get_context().dialect.name == "sqlite":
        op.execute("CREATE TRIGGER event_is_final BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, 'events "
                   "are final'); END")
