"""Stubs of `loyalty.errors.v1`, written by `make generate`."""
