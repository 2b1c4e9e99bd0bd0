"""Pure pieces shared by all services: no I/O, no clock, no randomness."""
