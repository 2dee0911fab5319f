"""Parked messages by municipality: a small index that counts them at each scrape, and lists them.

`hub.store.transitions.waiting` reads it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

PARKED = sa.text("state = 'parked'")


def upgrade() -> None:
    op.create_index("message_parked", "message", ["tenant", "reason"], sqlite_where=PARKED,
                    postgresql_where=PARKED)
