"""Pure: values and functions over them; no clock, no randomness, no I/O."""
