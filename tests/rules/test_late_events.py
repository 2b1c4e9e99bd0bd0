"""An event belongs to the account that was the member's when it was logged."""

from datetime import timedelta
from typing import Any

import pytest

from chassis.refusals import DependencyUnavailable
from loyalty.ledger.v1 import account_pb2, group_pb2, ledger_pb2, program_pb2, resources_pb2
from loyalty.ledger.v1.account_pb2_grpc import AccountServiceStub
from services.rules.operations.redrive import redrive
from tests.rules.kit import Suite, purchase

PROGRAM = "live"


async def test_an_event_that_is_posted_late_is_the_members_who_joined_a_group_meanwhile(
    served: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules, members = served.rules, AccountServiceStub(served.channel)
    context = rules.context
    # On the server's clock: in a sandbox nothing happens at a time of its own.
    await served.programs.CreateProgram(
        program_pb2.CreateProgramRequest(
            program=PROGRAM,
            settings=program_pb2.ProgramSettings(
                program=program_pb2.GeneralSettings(auto_enrol=True),
                groups=program_pb2.GroupsSettings(enabled=True),
            ),
        )
    )
    await rules.rule(program=PROGRAM)
    await members.EnrolMember(
        account_pb2.EnrolMemberRequest(program=PROGRAM, member="ada", request_id="e")
    )
    await members.CreateGroup(
        group_pb2.CreateGroupRequest(
            program=PROGRAM, group="family", request_id="c", kind=resources_pb2.Account.GROUP
        )
    )

    async def lost(*args: Any) -> Any:
        return DependencyUnavailable("ledger")

    with monkeypatch.context() as away:
        away.setattr(context.ledger, "post", lost)
        with pytest.raises(Exception, match="ledger"):
            await rules.submit(purchase("before", "ada", "5.00"), PROGRAM)
    await members.AddGroupMember(
        group_pb2.AddGroupMemberRequest(
            program=PROGRAM, group="family", member="ada", request_id="j"
        )
    )
    with monkeypatch.context() as away:
        away.setattr(context.ledger, "post", lost)
        with pytest.raises(Exception, match="ledger"):
            await rules.submit(purchase("since", "ada", "7.00"), PROGRAM)

    assert await redrive(context, due_by=context.clock() + timedelta(days=1)) == (2, 2)

    own = await served.points.GetAccount(
        ledger_pb2.GetAccountRequest(program=PROGRAM, member="ada", own=True)
    )
    assert own.balances[0].available == 5
    assert await served.numbers("family", PROGRAM) == (7, 700, 0)
    again = await rules.submit(purchase("before", "ada", "5.00"), PROGRAM)
    assert again.replayed
    assert again.posting.account_member == ""
