"""The SQL of the audience service."""
