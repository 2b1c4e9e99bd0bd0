"""What the gateway's services have in common."""

from chassis.call import current_call, outgoing_metadata
from chassis.channels import Metadata
from services.gateway.operations.admit import Credentials


def calling(credentials: Credentials) -> Metadata:
    """What a call on behalf of this call's caller carries.

    The trace, and a token, also where the caller came with an API key: services know no keys.
    """
    call = current_call()
    authorization = call.authorization if call is not None else None
    admitted = credentials.admit(authorization).authorization
    others = [pair for pair in outgoing_metadata() if pair[0] != "authorization"]
    return (("authorization", admitted), *others)
