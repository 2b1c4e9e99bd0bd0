"""Other services, wrapped."""
