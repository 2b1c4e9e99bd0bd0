"""Beginning a posting of an account."""

from datetime import datetime

from services.ledger.domain.account import Posting
from services.ledger.domain.fold import Fold
from services.ledger.domain.permissions import Addressed


def begin_posting(
    fold: Fold,
    effective_time: datetime,
    *,
    settles: bool = False,
    request_id: str | None = None,
    digest: bytes | None = None,
    actor: str = "",
    reference: str = "",
    addressed: Addressed | None = None,
    peer: Posting | None = None,
) -> Posting:
    """Open the account's next posting; what `settles` is no command and leaves the version.

    `addressed` is the member whose doing it is, where the account is another one's.
    """
    account = fold.account
    posting = Posting(
        request_id=request_id,
        digest=digest,
        version=account.version if settles else account.version + 1,
        effective_time=effective_time,
        record_time=fold.now,
        revision=fold.policy.revision,
        actor=actor,
        reference=reference,
        first_entry=account.sequence + 1,
        bucket=account.bucket,
        member=account.member,
        peer=peer,
    )
    if addressed is not None:
        posting.member, posting.account_member = addressed.member, account.member
        posting.addressee = addressed.key
    fold.open_posting(posting)
    return posting
