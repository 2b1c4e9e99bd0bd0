"""What keeps a suite from running."""


class SuiteError(Exception):
    """The suite cannot run; the message is one sentence for the person who started it."""
