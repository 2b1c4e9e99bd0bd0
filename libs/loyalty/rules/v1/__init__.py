"""Stubs of `loyalty.rules.v1`, written by `make generate`."""
