"""Stubs of `loyalty.audience`, a folder a version."""
