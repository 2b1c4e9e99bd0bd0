"""Stubs of `loyalty.errors`, a folder a version."""
