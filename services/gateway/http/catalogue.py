"""Which services the HTTP interface exposes, and where each is served.

A further service is one more line. Every method in these files that carries a `google.api.http`
annotation becomes a route; the others are gRPC only.
"""

from google.protobuf.descriptor import FileDescriptor

from loyalty.gateway.v1 import credential_pb2, profile_pb2
from loyalty.ledger.v1 import account_pb2, ledger_pb2, program_pb2

# The gateway's own services, reached through its own gRPC port like any other.
OWN = "gateway"

EXPOSED: tuple[tuple[FileDescriptor, str], ...] = (
    (ledger_pb2.DESCRIPTOR, "ledger"),
    (account_pb2.DESCRIPTOR, "ledger"),
    (program_pb2.DESCRIPTOR, "ledger"),
    (profile_pb2.DESCRIPTOR, OWN),
    (credential_pb2.DESCRIPTOR, OWN),
)
