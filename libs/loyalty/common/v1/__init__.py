"""Stubs of `loyalty.common.v1`, written by `make generate`."""
