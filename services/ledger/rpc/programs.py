"""`ProgramService`: organizations, programs and what they are configured to do."""

from chassis.paging import decode_token, encode_token, page_size
from loyalty.ledger.v1 import program_pb2
from loyalty.ledger.v1.program_pb2_grpc import ProgramServiceServicer
from services.ledger.domain.program_settings import naming_item
from services.ledger.domain.programs import DEFAULT_CURRENCY
from services.ledger.operations import (
    advance_clock,
    batch_settings,
    configure_program,
    organizations,
    programs,
    settings_history,
)
from services.ledger.operations.batch_settings import BatchItem
from services.ledger.operations.configure_program import Change, SettingsUpdate
from services.ledger.operations.context import ProgramContext
from services.ledger.operations.create_program import NewProgram, create_program
from services.ledger.rpc import program_translate as translate
from services.ledger.rpc import settings_translate as settings
from services.ledger.rpc.calls import Context, current_caller
from services.ledger.store.programs import ProgramState

REVISION_MAX = 2**63 - 1


class ProgramServicer(ProgramServiceServicer):
    """Translates, and decides nothing."""

    def __init__(self, context: ProgramContext) -> None:
        self._context = context

    async def CreateOrganization(
        self, request: program_pb2.CreateOrganizationRequest, context: Context
    ) -> program_pb2.Organization:
        """Register an organization."""
        created = await organizations.create_organization(
            self._context,
            request.organization,
            translate.organization_settings(request.settings),
        )
        return translate.organization_message(created)

    async def GetOrganization(
        self, request: program_pb2.GetOrganizationRequest, context: Context
    ) -> program_pb2.Organization:
        """Answer the caller's organization."""
        found = await organizations.get_organization(self._context, current_caller())
        return translate.organization_message(found)

    async def UpdateOrganization(
        self, request: program_pb2.UpdateOrganizationRequest, context: Context
    ) -> program_pb2.Organization:
        """Change the caller's organization."""
        changed = await organizations.update_organization(
            self._context,
            current_caller(),
            translate.organization_given(request.organization),
            request.update_mask.paths,
            request.etag,
        )
        return translate.organization_message(changed)

    async def CreateProgram(
        self, request: program_pb2.CreateProgramRequest, context: Context
    ) -> program_pb2.Program:
        """Create a program with its default currency."""
        start = translate.instant_of(request.start_time) if request.HasField("start_time") else None
        asked = NewProgram(
            id=request.program,
            display_name=request.display_name,
            sandbox=request.sandbox,
            start_time=start,
            currency=translate.currency_config(
                request.currency_id or DEFAULT_CURRENCY, request.currency
            ),
            settings=settings.settings_given(request.settings),
        )
        created = await create_program(self._context, current_caller(), asked)
        return self._answer(created)

    async def GetProgram(
        self, request: program_pb2.GetProgramRequest, context: Context
    ) -> program_pb2.Program:
        """Answer one program."""
        found = await programs.get_program(self._context, current_caller(), request.program)
        return self._answer(found)

    async def ListPrograms(
        self, request: program_pb2.ListProgramsRequest, context: Context
    ) -> program_pb2.ListProgramsResponse:
        """List the programs of the caller's organization."""
        caller = current_caller()
        query = {"list": "programs", "organization": caller.organization}
        position = decode_token(request.page_token, query, (str,))
        after = str(position[0]) if position else ""
        found, more = await programs.page_of_programs(
            self._context, caller, after, page_size(request.page_size)
        )
        server_time = self._context.clock()
        return program_pb2.ListProgramsResponse(
            programs=[
                translate.program_message(program, currency, server_time)
                for program, currency in found
            ],
            next_page_token=encode_token(query, (found[-1][0].id,)) if more else "",
        )

    async def UpdateProgram(
        self, request: program_pb2.UpdateProgramRequest, context: Context
    ) -> program_pb2.Program:
        """Change a program's display name."""
        changed = await programs.update_program(
            self._context,
            current_caller(),
            request.program,
            translate.program_given(request.changes),
            request.update_mask.paths,
            request.etag,
        )
        return self._answer(changed)

    async def CreateCurrency(
        self, request: program_pb2.CreateCurrencyRequest, context: Context
    ) -> program_pb2.Currency:
        """Add a currency to a program."""
        currency = translate.currency_config(request.currency_id, request.currency)
        await configure_program.create_currency(
            self._context, current_caller(), request.program, currency
        )
        return translate.currency_message(currency)

    async def ListCurrencies(
        self, request: program_pb2.ListCurrenciesRequest, context: Context
    ) -> program_pb2.ListCurrenciesResponse:
        """List a program's currencies."""
        found = await programs.get_program(self._context, current_caller(), request.program)
        return program_pb2.ListCurrenciesResponse(
            currencies=[translate.currency_message(each) for each in found.config.currencies]
        )

    async def CreateCounter(
        self, request: program_pb2.CreateCounterRequest, context: Context
    ) -> program_pb2.Counter:
        """Register a counter."""
        counter = translate.counter_config(request.counter_id, request.counter)
        await configure_program.create_counter(
            self._context, current_caller(), request.program, counter
        )
        return translate.counter_message(counter)

    async def ListCounters(
        self, request: program_pb2.ListCountersRequest, context: Context
    ) -> program_pb2.ListCountersResponse:
        """List a program's counters."""
        found = await programs.get_program(self._context, current_caller(), request.program)
        return program_pb2.ListCountersResponse(
            counters=[translate.counter_message(each) for each in found.config.counters]
        )

    async def AdvanceClock(
        self, request: program_pb2.AdvanceClockRequest, context: Context
    ) -> program_pb2.AdvanceClockResponse:
        """Move a sandbox's clock and do everything that falls due on the way."""
        now, settled = await advance_clock.advance_clock(
            self._context, current_caller(), request.program, translate.instant_of(request.time)
        )
        return program_pb2.AdvanceClockResponse(
            time=translate.timestamp_of(now), settled_accounts=settled
        )

    async def GetProgramSettings(
        self, request: program_pb2.GetProgramSettingsRequest, context: Context
    ) -> program_pb2.ProgramSettings:
        """Answer a program's settings."""
        found = await programs.get_program(self._context, current_caller(), request.program)
        return settings.settings_message(found)

    async def UpdateProgramSettings(
        self, request: program_pb2.UpdateProgramSettingsRequest, context: Context
    ) -> program_pb2.ProgramSettings:
        """Change a program's settings."""
        configured = await configure_program.update_program_settings(
            self._context,
            current_caller(),
            request.program,
            _update_of(request),
            Change(request.validate_only, request.reason),
        )
        return settings.updated_message(configured)

    async def BatchUpdateProgramSettings(
        self, request: program_pb2.BatchUpdateProgramSettingsRequest, context: Context
    ) -> program_pb2.BatchUpdateProgramSettingsResponse:
        """Change the settings of several programs, all or none."""
        items = []
        for place, item in enumerate(request.items):
            with naming_item(place):
                items.append(BatchItem(item.program, _update_of(item)))
        results = await batch_settings.batch_update_program_settings(
            self._context, current_caller(), items, Change(request.validate_only, request.reason)
        )
        return program_pb2.BatchUpdateProgramSettingsResponse(
            results=[
                program_pb2.BatchUpdateProgramSettingsResponse.Result(
                    program=each.after.id,
                    settings=settings.settings_message(each.after),
                    changes=settings.changes_of(each),
                )
                for each in results
            ]
        )

    async def ListSettingsRevisions(
        self, request: program_pb2.ListSettingsRevisionsRequest, context: Context
    ) -> program_pb2.ListSettingsRevisionsResponse:
        """List the revisions of a program's configuration, newest first."""
        caller = current_caller()
        query = {
            "list": "settings",
            "organization": caller.organization,
            "program": request.program,
        }
        position = decode_token(request.page_token, query, (int,))
        before = int(position[0]) if position else REVISION_MAX
        found, more = await settings_history.page_of_revisions(
            self._context, caller, request.program, before, page_size(request.page_size)
        )
        return program_pb2.ListSettingsRevisionsResponse(
            revisions=[settings.revision_message(each) for each in found],
            next_page_token=encode_token(query, (found[-1].revision,)) if more else "",
        )

    async def RestoreSettingsRevision(
        self, request: program_pb2.RestoreSettingsRevisionRequest, context: Context
    ) -> program_pb2.ProgramSettings:
        """Make a program's settings again what they were in a revision."""
        configured = await configure_program.restore_settings_revision(
            self._context,
            current_caller(),
            request.program,
            request.revision,
            request.etag,
            Change(request.validate_only, request.reason),
        )
        return settings.updated_message(configured)

    def _answer(self, program: ProgramState) -> program_pb2.Program:
        currency = program.config.currencies[0].id
        return translate.program_message(program, currency, self._context.clock())


def _update_of(
    asked: program_pb2.UpdateProgramSettingsRequest
    | program_pb2.BatchUpdateProgramSettingsRequest.Item,
) -> SettingsUpdate:
    return SettingsUpdate(
        given=settings.settings_given(asked.settings),
        mask=asked.update_mask.paths,
        etag=asked.etag,
    )
