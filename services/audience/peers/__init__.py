"""The services that the audience service asks and follows."""
