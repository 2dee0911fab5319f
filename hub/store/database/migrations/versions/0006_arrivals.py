"""Arrivals: an index that finds a sender's messages by their time, so that one that has fallen silent is
missed.

`hub.store.database.arrivals` explains what it is used for.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

REAL = sa.text("test = 0")


def upgrade() -> None:
    op.create_index("message_by_sender", "message", ["sender", "received_at"], sqlite_where=REAL,
                    postgresql_where=REAL)
