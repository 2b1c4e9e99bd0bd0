"""Keeps sets of members, defined by criteria over what the suite knows of them."""
