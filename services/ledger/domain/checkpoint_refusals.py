"""Refusals about checkpoints."""

from kernel.refusals import Refusal


class CheckpointsNotKept(Refusal):
    """This ledger was not told where to keep checkpoints."""

    reason = "CHECKPOINTS_NOT_KEPT"

    def __init__(self) -> None:
        super().__init__("no checkpoints are kept here: LOYALTY_CHECKPOINT_PATH is not set")


class CheckpointsBroken(Refusal):
    """The file, or the history that it covers, is not what it was."""

    reason = "CHECKPOINTS_BROKEN"

    def __init__(self, checkpoint: int, problem: str) -> None:
        super().__init__(
            f"checkpoint {checkpoint}: {problem}", checkpoint=checkpoint, problem=problem
        )


class CheckpointNotFound(Refusal):
    """There is no such checkpoint."""

    reason = "CHECKPOINT_NOT_FOUND"

    def __init__(self, checkpoint: int) -> None:
        super().__init__(f"there is no checkpoint {checkpoint}", checkpoint=checkpoint)
