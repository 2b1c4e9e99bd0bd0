"""What a serving process asks of Python's garbage collector."""

import gc

_YOUNG, _MIDDLE, _OLD = 20_000, 20, 50


def spare_collections() -> None:
    """Collect once, set aside everything that stays, and look for cycles seldom from now on.

    Call it when everything is built. A call's objects die by their reference counts; by default the
    collector would walk everything that the process remembers several times a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
