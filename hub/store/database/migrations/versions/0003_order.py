"""Order within a case: two small indexes that find the earlier messages and deliveries of a case.

`hub.store.transitions.case_order` explains their conditions.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

UNROUTED = sa.text("\"case\" IS NOT NULL AND state IN ('received', 'deferred', 'parked')")
ORDERED = sa.text("order_key IS NOT NULL AND state IN ('due', 'delivering', 'in_doubt', 'parked')")


def upgrade() -> None:
    op.create_index("message_unrouted", "message", ["tenant", "case"], sqlite_where=UNROUTED,
                    postgresql_where=UNROUTED)
    op.create_index("delivery_ordered", "delivery", ["order_key", "destination"], sqlite_where=ORDERED,
                    postgresql_where=ORDERED)
