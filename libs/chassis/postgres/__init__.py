"""An embedded PostgreSQL for runs and tests on one machine."""

from chassis.postgres.embedded import EmbeddedPostgres, PostgresUnavailable

__all__ = ["EmbeddedPostgres", "PostgresUnavailable"]
