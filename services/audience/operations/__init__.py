"""The use cases of the audience service."""
