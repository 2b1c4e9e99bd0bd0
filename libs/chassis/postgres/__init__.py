"""An embedded PostgreSQL for runs and tests on one machine."""

from chassis.postgres.access import PostgresUnavailable
from chassis.postgres.embedded import EmbeddedPostgres

__all__ = ["EmbeddedPostgres", "PostgresUnavailable"]
