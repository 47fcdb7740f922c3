"""Who is signed in, and what was done."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

AUDIT_STAYS = """
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is only appended to'); END
"""
# By what the rows say alone, so that a clock that was set opens nothing by itself.
AUDIT_IS_KEPT = """
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
WHEN OLD.id > (SELECT max(id) FROM audit) - 100000
AND OLD.at_s > (SELECT at_s FROM audit ORDER BY id DESC LIMIT 1) - 400 * 86400.0
BEGIN SELECT RAISE(ABORT, 'the audit log is kept'); END
"""
# To replace a row would remove it without the trigger above.
AUDIT_GROWS = """
CREATE TRIGGER audit_grows BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'the audit log is only appended to'); END
"""


def upgrade() -> None:
    """From nothing."""
    op.create_table(
        "sessions",
        sa.Column("key", sa.TEXT, primary_key=True),
        sa.Column("id", sa.TEXT, nullable=False, unique=True),
        sa.Column("user", sa.TEXT, nullable=False),
        sa.Column("role", sa.TEXT, nullable=False),
        sa.Column("address", sa.TEXT, nullable=False),
        sa.Column("agent", sa.TEXT, nullable=False),
        sa.Column("stamp", sa.TEXT, nullable=False),
        sa.Column("seen_at_s", sa.REAL, nullable=False),
        sa.Column("age_s", sa.REAL, nullable=False),
        sa.Column("idle_s", sa.REAL, nullable=False),
        sqlite_strict=True,
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.INTEGER, primary_key=True),
        sa.Column("at_s", sa.REAL, nullable=False),
        sa.Column("what", sa.TEXT, nullable=False),
        sa.Column("user", sa.TEXT, nullable=False),
        sa.Column("address", sa.TEXT, nullable=False),
        sa.Column("detail", sa.TEXT, nullable=False),
        sa.CheckConstraint("id > 0"),
        sqlite_strict=True,
    )
    op.create_index("audit_at_s", "audit", ["at_s"])
    for trigger in (AUDIT_STAYS, AUDIT_IS_KEPT, AUDIT_GROWS):
        op.execute(trigger)
