"""What the gateway keeps: the file of hashed API keys."""
