"""The tables. Migrations make them; a test holds both to each other."""

from sqlalchemy import INTEGER, REAL, TEXT, CheckConstraint, Column, Index, MetaData, Table

metadata = MetaData()

sessions = Table(
    "sessions",
    metadata,
    Column("key", TEXT, primary_key=True),  # SHA-256 of the token, which is kept nowhere
    Column("id", TEXT, nullable=False, unique=True),
    Column("user", TEXT, nullable=False),
    Column("role", TEXT, nullable=False),
    Column("address", TEXT, nullable=False),
    Column("agent", TEXT, nullable=False),
    Column("stamp", TEXT, nullable=False),
    Column("seen_at_s", REAL, nullable=False),
    Column("age_s", REAL, nullable=False),
    Column("idle_s", REAL, nullable=False),
    sqlite_strict=True,
)

audit = Table(
    "audit",
    metadata,
    Column("id", INTEGER, primary_key=True),
    Column("at_s", REAL, nullable=False),
    Column("what", TEXT, nullable=False),
    Column("user", TEXT, nullable=False),
    Column("address", TEXT, nullable=False),
    Column("detail", TEXT, nullable=False),
    CheckConstraint("id > 0"),
    Index("audit_at_s", "at_s"),
    sqlite_strict=True,
)

TRIGGERS = frozenset({"audit_stays", "audit_is_kept", "audit_grows"})
