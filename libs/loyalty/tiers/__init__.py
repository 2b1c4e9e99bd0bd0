"""Stubs of `loyalty.tiers`, a folder a version."""
