"""Bad input on every method: a clear refusal each time, never a fault."""

import base64
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chassis.refusals import error_info, status_of_error
from loyalty.audience.v1 import audience_pb2
from loyalty.common.v1 import clock_pb2
from services.audience.rpc.scopes import SCOPES
from testkit.keys import metadata, token
from tests.audience.audience_kit import AudienceUnderTest, Criterion, available, points, standing
from tests.ledger.programs_kit import at, refusal

Audience = audience_pb2.Audience
P: dict[str, Any] = {"program": "p1"}
LONG = "x" * 200


def create(**fields: Any) -> tuple[str, Any]:
    wanted = Audience(**{"criteria": [available(1)], **fields})
    return "CreateAudience", audience_pb2.CreateAudienceRequest(
        **P, audience_id="b", audience=wanted
    )


def update(*mask: str, **fields: Any) -> tuple[str, Any]:
    return "UpdateAudience", audience_pb2.UpdateAudienceRequest(
        **P, audience="a", changes=Audience(**fields), update_mask=FieldMask(paths=mask)
    )


BAD: dict[str, tuple[tuple[str, Any], str]] = {
    "no program": (
        ("GetAudience", audience_pb2.GetAudienceRequest(audience="a")),
        "program",
    ),
    "a program with a slash": (
        ("ListAudiences", audience_pb2.ListAudiencesRequest(program="a/b")),
        "program",
    ),
    "an audience without an id": (
        (
            "CreateAudience",
            audience_pb2.CreateAudienceRequest(**P, audience=Audience(criteria=[available(1)])),
        ),
        "audience_id",
    ),
    "an id that is too long": (
        ("GetAudience", audience_pb2.GetAudienceRequest(**P, audience=LONG)),
        "audience",
    ),
    "no audience": (
        ("CreateAudience", audience_pb2.CreateAudienceRequest(**P, audience_id="b")),
        "audience",
    ),
    "no criteria": (create(criteria=[]), "audience.criteria"),
    "too many criteria": (create(criteria=[available(1)] * 21), "audience.criteria"),
    "a criterion of nothing": (create(criteria=[Criterion()]), "audience.criteria[0]"),
    "points without a bound": (
        create(criteria=[points(Criterion.BALANCE)]),
        "audience.criteria[0]",
    ),
    "points with tiers": (
        create(criteria=[Criterion(field=Criterion.BALANCE, minimum=1, tiers=["gold"])]),
        "audience.criteria[0]",
    ),
    "a tier with a bound": (
        create(criteria=[Criterion(field=Criterion.TIER, minimum=1, tiers=["gold"])]),
        "audience.criteria[0]",
    ),
    "no tiers": (create(criteria=[standing()]), "audience.criteria[0]"),
    "a range that ends before it begins": (
        create(criteria=[available(2, 1)]),
        "audience.criteria[0]",
    ),
    "a bound that is too large": (
        create(criteria=[available(10**15 + 1)]),
        "audience.criteria[0].minimum",
    ),
    "two ranges of one field": (
        create(criteria=[available(1), available(None, 5)]),
        "audience.criteria[1]",
    ),
    "two ranges of one field, one by its default": (
        create(criteria=[available(1), points(Criterion.AVAILABLE, None, 5, currency="points")]),
        "audience.criteria[1]",
    ),
    "a group with a space": (create(group="a b"), "audience.group"),
    "a name that is too long": (create(display_name="x" * 201), "audience.display_name"),
    "a mask that names nothing": (update("size", display_name="x"), "update_mask"),
    "criteria taken away": (update("criteria"), "changes.criteria"),
    "no changes": (
        ("UpdateAudience", audience_pb2.UpdateAudienceRequest(**P, audience="a")),
        "changes",
    ),
    "an etag that is too long": (
        ("DeleteAudience", audience_pb2.DeleteAudienceRequest(**P, audience="a", etag=LONG)),
        "etag",
    ),
    "a member with a slash": (
        (
            "CheckMembership",
            audience_pb2.CheckMembershipRequest(**P, audience="a", member="a/b"),
        ),
        "member",
    ),
    "a member beyond ASCII": (
        (
            "ListMemberAudiences",
            audience_pb2.ListMemberAudiencesRequest(**P, member="mé"),
        ),
        "member",
    ),
    "a page that is too large": (
        (
            "ListAudienceMembers",
            audience_pb2.ListAudienceMembersRequest(**P, audience="a", page_size=1001),
        ),
        "page_size",
    ),
    "a page of less than nothing": (
        ("ListAudiences", audience_pb2.ListAudiencesRequest(**P, page_size=-1)),
        "page_size",
    ),
    "a preview of nothing": (
        ("PreviewAudience", audience_pb2.PreviewAudienceRequest(**P)),
        "criteria",
    ),
}


@pytest.fixture
async def served(suite: AudienceUnderTest) -> AudienceUnderTest:
    await suite.create("a", available(1))
    await suite.earn("m1", 5)
    await suite.settled()
    return suite


async def test_what_is_wrong_with_a_request_is_named(served: AudienceUnderTest) -> None:
    found = {}
    for name, ((method, request), _) in BAD.items():
        refused = await refusal(getattr(served.audiences, method)(request))
        found[name] = (refused.code, refused.reason, refused.fields[0])

    assert found == {
        name: (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field)
        for name, (_, field) in BAD.items()
    }
    assert await served.rows.fetchval("SELECT count(*) FROM audience") == 1


async def test_a_page_token_that_was_made_up_is_refused(served: AudienceUnderTest) -> None:
    for made_up in ("x", "AAAA", base64.urlsafe_b64encode(b"\0" * 12 + b'["a"]').decode()):
        calls = [
            served.audiences.ListAudiences(
                audience_pb2.ListAudiencesRequest(**P, page_token=made_up)
            ),
            served.audiences.ListMemberAudiences(
                audience_pb2.ListMemberAudiencesRequest(**P, member="m1", page_token=made_up)
            ),
            served.audiences.ListAudienceMembers(
                audience_pb2.ListAudienceMembersRequest(**P, audience="a", page_token=made_up)
            ),
        ]

        assert {(await refusal(call)).reason for call in calls} == {"INVALID_PAGE_TOKEN"}


REQUESTS: dict[str, tuple[str, Any]] = {
    "CreateAudience": ("audiences:write", create()[1]),
    "GetAudience": ("audiences:read", audience_pb2.GetAudienceRequest(**P, audience="a")),
    "ListAudiences": ("audiences:read", audience_pb2.ListAudiencesRequest(**P)),
    "UpdateAudience": ("audiences:write", update(display_name="x")[1]),
    "DeleteAudience": ("audiences:write", audience_pb2.DeleteAudienceRequest(**P, audience="a")),
    "CheckMembership": (
        "audiences:read",
        audience_pb2.CheckMembershipRequest(**P, audience="a", member="m1"),
    ),
    "ListMemberAudiences": (
        "audiences:read",
        audience_pb2.ListMemberAudiencesRequest(**P, member="m1"),
    ),
    "ListAudienceMembers": (
        "audiences:read",
        audience_pb2.ListAudienceMembersRequest(**P, audience="a"),
    ),
    "PreviewAudience": (
        "audiences:read",
        audience_pb2.PreviewAudienceRequest(**P, criteria=[available(1)]),
    ),
    "CatchUp": ("programs:write", clock_pb2.CatchUpRequest(**P, time=at(1997))),
    "GetNextDue": ("programs:write", clock_pb2.GetNextDueRequest(**P)),
}


async def test_no_method_is_open_to_a_credential_without_its_scope(
    served: AudienceUnderTest,
) -> None:
    assert {method.rpartition("/")[2] for method in SCOPES} == set(REQUESTS)
    everything = {"ledger:write", "programs:write", "audiences:read", "audiences:write"}
    for method, (scope, request) in REQUESTS.items():
        stub = served.clock if method in ("CatchUp", "GetNextDue") else served.audiences
        others = metadata(token(scopes=everything - {scope}))

        refused = await refusal(getattr(stub, method)(request, metadata=others))

        assert (refused.reason, refused.metadata) == ("SCOPE_MISSING", {"scope": scope}), method


_TEXT = st.text(max_size=20) | st.sampled_from(["p1", "a", "m1", "points", "\0", "💥", "%", "'"])
_INTEGERS = st.none() | st.integers(-(2**63), 2**63 - 1)
_CRITERIA = st.lists(
    st.builds(
        Criterion,
        field=st.integers(0, 9),
        currency=_TEXT,
        minimum=_INTEGERS,
        maximum=_INTEGERS,
        tiers=st.lists(_TEXT, max_size=3),
    ),
    max_size=4,
)
_AUDIENCES = st.builds(Audience, display_name=_TEXT, criteria=_CRITERIA, group=_TEXT)
_MASKS = st.builds(FieldMask, paths=st.lists(_TEXT, max_size=2))
_SIZES = st.integers(-(2**31), 2**31 - 1) | st.just(0)
_ANY: dict[str, st.SearchStrategy[Any]] = {
    "CreateAudience": st.builds(
        audience_pb2.CreateAudienceRequest, program=_TEXT, audience_id=_TEXT, audience=_AUDIENCES
    ),
    "GetAudience": st.builds(audience_pb2.GetAudienceRequest, program=_TEXT, audience=_TEXT),
    "ListAudiences": st.builds(
        audience_pb2.ListAudiencesRequest, program=_TEXT, page_size=_SIZES, page_token=_TEXT
    ),
    "UpdateAudience": st.builds(
        audience_pb2.UpdateAudienceRequest,
        program=_TEXT,
        audience=_TEXT,
        changes=_AUDIENCES,
        etag=_TEXT,
        update_mask=_MASKS,
    ),
    "DeleteAudience": st.builds(
        audience_pb2.DeleteAudienceRequest, program=_TEXT, audience=_TEXT, etag=_TEXT
    ),
    "CheckMembership": st.builds(
        audience_pb2.CheckMembershipRequest, program=_TEXT, audience=_TEXT, member=_TEXT
    ),
    "ListMemberAudiences": st.builds(
        audience_pb2.ListMemberAudiencesRequest,
        program=_TEXT,
        member=_TEXT,
        page_size=_SIZES,
        page_token=_TEXT,
    ),
    "ListAudienceMembers": st.builds(
        audience_pb2.ListAudienceMembersRequest,
        program=_TEXT,
        audience=_TEXT,
        page_size=_SIZES,
        page_token=_TEXT,
    ),
    "PreviewAudience": st.builds(
        audience_pb2.PreviewAudienceRequest, program=_TEXT, criteria=_CRITERIA
    ),
}


async def test_whatever_is_sent_is_answered_or_refused(served: AudienceUnderTest) -> None:
    sent: list[tuple[str, Any]] = []

    @given(st.one_of([st.tuples(st.just(method), each) for method, each in _ANY.items()]))
    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    def collect(one: tuple[str, Any]) -> None:
        sent.append(one)

    collect()
    for method, request in sent:
        try:
            await getattr(served.audiences, method)(request)
        except grpc.aio.AioRpcError as error:
            info = error_info(status_of_error(error, "audience"))
            assert info is not None, (method, request)
            assert info.reason not in ("FAULT", "DEPENDENCY_UNAVAILABLE"), (method, request)
