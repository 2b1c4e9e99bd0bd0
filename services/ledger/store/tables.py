"""The tables of organizations and programs, as SQLAlchemy Core names them.

The columns that statements here use; the tables are made by the migrations.
"""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Integer, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

# What operations hold and pass on, without a word of SQL.
Database = AsyncEngine
Transaction = AsyncConnection

METADATA = MetaData()

ORGANIZATION = Table(
    "organization",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("settings", JSONB, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False),
)

PROGRAM = Table(
    "program",
    METADATA,
    Column("key", BigInteger, primary_key=True, autoincrement=False),
    Column("organization", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("sandbox", Boolean, nullable=False),
    Column("clock", DateTime(timezone=True)),
    Column("posted", Boolean, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False),
)

PROGRAM_REVISION = Table(
    "program_revision",
    METADATA,
    Column("program", BigInteger, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("record_time", DateTime(timezone=True), nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("config", JSONB, nullable=False),
)

PROGRAM_CHANGE = Table(
    "program_change",
    METADATA,
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("program", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("record_time", DateTime(timezone=True), nullable=False),
)

HEAD = Table(
    "head",
    METADATA,
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, nullable=False),
)
