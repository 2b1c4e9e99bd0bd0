"""Stubs of `loyalty.tiers.v1`, written by `make generate`."""
