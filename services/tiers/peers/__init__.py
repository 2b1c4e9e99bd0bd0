"""The services that the tiers call."""
