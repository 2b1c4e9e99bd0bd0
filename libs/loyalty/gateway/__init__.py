"""Stubs of `loyalty.gateway`, a folder a version."""
