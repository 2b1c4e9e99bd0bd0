"""Pure pieces shared by all services: refusals, calendar, ids, money. No I/O, no clock, no
randomness.
"""
