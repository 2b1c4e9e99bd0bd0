"""Servicers and the translation between messages and the domain."""
