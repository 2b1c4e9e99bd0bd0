"""Stubs of `loyalty.audience.v1`, written by `make generate`."""
