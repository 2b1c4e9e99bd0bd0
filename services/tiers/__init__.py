"""Keeps ladders, and where members stand on them."""
