"""Stubs of `loyalty.rules`, a folder a version."""
