"""What every member has, and why: the book of points and counters."""
