"""On the path of a process that is to have a bug: plants it before anything else is loaded."""

import os

if os.environ.get("PLANTED_BUG"):
    from tests.planted.planting import plant

    plant(os.environ["PLANTED_BUG"])
