"""Which services the HTTP interface exposes, and where each is served.

A further service is one more line. Every method in these files that carries a `google.api.http`
annotation becomes a route; the others are gRPC only.
"""

from google.protobuf.descriptor import FileDescriptor

from loyalty.audience.v1 import audience_pb2
from loyalty.gateway.v1 import credential_pb2, profile_pb2
from loyalty.ledger.v1 import account_pb2, ledger_pb2, program_pb2, proof_pb2, report_pb2
from loyalty.rules.v1 import earning_pb2, events_pb2
from loyalty.tiers.v1 import tiers_pb2

# The gateway's own services, reached through its own gRPC port like any other.
OWN = "gateway"

EXPOSED: tuple[tuple[FileDescriptor, str], ...] = (
    (ledger_pb2.DESCRIPTOR, "ledger"),
    (account_pb2.DESCRIPTOR, "ledger"),
    (program_pb2.DESCRIPTOR, "ledger"),
    (proof_pb2.DESCRIPTOR, "ledger"),
    (report_pb2.DESCRIPTOR, "ledger"),
    (events_pb2.DESCRIPTOR, "rules"),
    (earning_pb2.DESCRIPTOR, "rules"),
    (tiers_pb2.DESCRIPTOR, "tiers"),
    (audience_pb2.DESCRIPTOR, "audience"),
    (profile_pb2.DESCRIPTOR, OWN),
    (credential_pb2.DESCRIPTOR, OWN),
)

# Methods of other services that the gateway serves itself, over all services.
COMPOSED = frozenset({"/loyalty.ledger.v1.ProgramService/AdvanceClock"})

# Methods that have as long as a caller may ask for where the caller asks for nothing.
LONG = COMPOSED | {
    "/loyalty.ledger.v1.ProofService/CreateCheckpoint",
    "/loyalty.ledger.v1.ReportService/GetLiability",
    "/loyalty.ledger.v1.ReportService/ReconcileProgram",
}

# Messages whose own id is the request id, with the field that it stands in.
SELF_IDENTIFIED = {"loyalty.rules.v1.Event": "id"}
