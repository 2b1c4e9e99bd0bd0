"""Where alembic finds the environment of every service."""
