"""`ProofService`: shows that nobody rewrote the ledger's history."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import pairwise

from chassis.paging import decode_token, encode_token, page_size
from kernel.refusals import FieldViolation, InvalidField
from loyalty.ledger.v1 import ledger_pb2, proof_pb2
from loyalty.ledger.v1.proof_pb2_grpc import ProofServiceServicer
from services.ledger.domain.checkpoints import LeafKind, line_hash
from services.ledger.operations import checkpoints
from services.ledger.operations.checkpoints import ProofContext, Written
from services.ledger.operations.ledger_context import LedgerContext
from services.ledger.operations.verify_program import Part, Shard, verify_program
from services.ledger.rpc.calls import Context, current_caller
from services.ledger.rpc.program_translate import timestamp_of

_KINDS = {
    LeafKind.ACCOUNT: proof_pb2.Leaf.ACCOUNT,
    LeafKind.REVISION: proof_pb2.Leaf.REVISION,
}


class ProofServicer(ProofServiceServicer):
    """Translates, and decides nothing."""

    def __init__(self, ledger: LedgerContext, proof: ProofContext) -> None:
        self._ledger = ledger
        self._proof = proof

    async def VerifyProgram(
        self, request: proof_pb2.VerifyProgramRequest, context: Context
    ) -> AsyncIterator[proof_pb2.VerifyProgramResponse]:
        """Recompute every account of a program."""
        parts = verify_program(
            self._ledger,
            current_caller().organization,
            request.program,
            Shard(request.shards or 1, request.shard),
            (request.after_bucket, request.after_account),
        )
        async with aclosing(parts):
            async for part in parts:
                yield _part(part)

    async def CreateCheckpoint(
        self, request: proof_pb2.CreateCheckpointRequest, context: Context
    ) -> proof_pb2.Checkpoint:
        """Write a checkpoint."""
        return _checkpoint(
            await checkpoints.create_checkpoint(self._proof, begin_anew=request.begin_anew)
        )

    async def GetCheckpoint(
        self, request: proof_pb2.GetCheckpointRequest, context: Context
    ) -> proof_pb2.Checkpoint:
        """Answer a checkpoint."""
        return _checkpoint(await checkpoints.get_checkpoint(self._proof, request.checkpoint))

    async def ListCheckpoints(
        self, request: proof_pb2.ListCheckpointsRequest, context: Context
    ) -> proof_pb2.ListCheckpointsResponse:
        """List checkpoints."""
        query: dict[str, object] = {"list": "checkpoints", "after": request.after}
        position = decode_token(request.page_token, query, (int,))
        after = int(position[0]) if position else request.after
        page, more = await checkpoints.page_of_checkpoints(
            self._proof, after, page_size(request.page_size)
        )
        token = encode_token(query, (page[-1].checkpoint.number,)) if more else ""
        return proof_pb2.ListCheckpointsResponse(
            checkpoints=[_checkpoint(each) for each in page], next_page_token=token
        )

    async def ReadLeaves(
        self, request: proof_pb2.ReadLeavesRequest, context: Context
    ) -> AsyncIterator[proof_pb2.ReadLeavesResponse]:
        """Recompute leaves."""
        if any(later <= earlier for earlier, later in pairwise((request.after, *request.heads))):
            raise InvalidField(FieldViolation("heads", "must each be greater than the one before"))
        parts = checkpoints.read_leaves(
            self._proof, request.bucket, request.after, list(request.heads)
        )
        async with aclosing(parts):
            async for part in parts:
                yield proof_pb2.ReadLeavesResponse(
                    head=part.head,
                    leaves=[
                        proof_pb2.Leaf(
                            kind=_KINDS[leaf.kind],
                            id=leaf.id,
                            number=leaf.number,
                            digest=leaf.digest,
                        )
                        for leaf in part.leaves
                    ],
                    complete=part.missing is not None,
                    missing=part.missing or 0,
                )


def _checkpoint(written: Written) -> proof_pb2.Checkpoint:
    checkpoint = written.checkpoint
    return proof_pb2.Checkpoint(
        number=checkpoint.number,
        create_time=timestamp_of(checkpoint.time),
        hash=line_hash(written.line).hex(),
        leaves=checkpoint.leaves,
        line=written.line.decode(),
    )


def _part(part: Part) -> proof_pb2.VerifyProgramResponse:
    bucket, account = part.position
    return proof_pb2.VerifyProgramResponse(
        total=part.total,
        accounts=part.accounts,
        entries=part.entries,
        disagreeing=[
            proof_pb2.DisagreeingAccount(
                member=part.members.get(key, ""),
                bucket=key[0],
                account=key[1],
                findings=[
                    ledger_pb2.Finding(
                        row=each.row, field=each.field, expected=each.expected, stored=each.stored
                    )
                    for each in findings
                ],
            )
            for key, findings in part.disagreeing.items()
        ],
        bucket=bucket,
        account=account,
    )
