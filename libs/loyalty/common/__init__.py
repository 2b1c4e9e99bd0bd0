"""Stubs of `loyalty.common`, a folder a version."""
