"""Stubs of `loyalty.ledger`, a folder a version."""
