"""Stubs of `loyalty.ledger.v1`, written by `make generate`."""
