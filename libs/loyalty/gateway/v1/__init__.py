"""Stubs of `loyalty.gateway.v1`, written by `make generate`."""
