"""Pure values and functions: no clock, no randomness, no I/O."""
