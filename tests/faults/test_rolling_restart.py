"""Ledgers behind one port restarted one after the other, under load: callers notice nothing."""

import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from loyalty.calls import Options, Token, new_request_id
from loyalty.client import Client
from loyalty.ledger.v1 import ledger_pb2
from loyalty.ledger.v1.ledger_pb2_grpc import LedgerServiceStub
from testkit.postgres import TestDatabase
from tests.faults.ledger_books import new_program
from tests.properties.driver import Ledger
from tests.properties.ledger_process import START_SECONDS, Cluster, LedgerProcess, free_port

CALLERS = 6
MORE = 5
DEADLINE_SECONDS = 10.0


class Till:
    """Earns a point again and again, as a careful caller does, until it is told to stop."""

    def __init__(self, address: str, token: str, program: str, member: str) -> None:
        self._options = Options({"ledger": address}, deadline_seconds=DEADLINE_SECONDS)
        self._token = token
        self._program = program
        self.member = member
        self.served = 0
        self.slowest = 0.0
        self.failures: list[str] = []

    def _open(self, target: str) -> grpc.Channel:
        # A connection of its own, so that the callers are spread over the processes.
        arguments = [*self._options.channel_arguments(target), OWN_CONNECTION]
        return grpc.insecure_channel(target, arguments)

    def run(self, stopping: threading.Event) -> None:
        """Call until stopped, noting what fails."""
        with Client(self._options, Token(self._token), open_channel=self._open) as client:
            ledger = client.stub(LedgerServiceStub)
            while not stopping.is_set():
                request = ledger_pb2.EarnRequest(
                    program=self._program,
                    member=self.member,
                    points=1,
                    request_id=new_request_id(),
                )
                began = time.monotonic()
                try:
                    ledger.Earn(request)
                except Exception as error:  # noqa: BLE001 - whatever it is, a call has failed
                    self.failures.append(repr(error))
                else:
                    self.served += 1
                self.slowest = max(self.slowest, time.monotonic() - began)


OWN_CONNECTION = ("grpc.use_local_subchannel_pool", 1)


def servings(process: LedgerProcess) -> int:
    """How often a process has said that it serves."""
    lines = process.log.read_text(errors="replace").splitlines()
    said = [json.loads(line) for line in lines if line.startswith("{")]
    return sum(each.get("event") == "serving" for each in said)


def available(ledger: Ledger, program: str, member: str) -> int:
    """The points that a member can spend."""
    request = ledger_pb2.GetAccountRequest(program=program, member=member)
    points: int = ledger.call(ledger.ledger.GetAccount, request).balances[0].available
    return points


def wait(process: LedgerProcess, times: int) -> None:
    """Wait until a process has said so often that it serves: the other answers on the port."""
    deadline = time.monotonic() + START_SECONDS
    while servings(process) < times:
        assert process.alive(), process.log.read_text()[-4000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def all_served(tills: list[Till]) -> None:
    """Wait until every till was served some more."""
    deadline = time.monotonic() + START_SECONDS
    before = [till.served for till in tills]
    while min(till.served - was for till, was in zip(tills, before, strict=True)) < MORE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_no_call_fails_while_one_process_after_the_other_is_restarted(
    ledger_database: TestDatabase,
) -> None:
    cluster = Cluster(ledger_database, {"LOYALTY_REUSE_PORT": "true"})
    stopping = threading.Event()
    try:
        port = free_port()
        cluster.processes = [LedgerProcess(cluster, number, port) for number in range(2)]
        first, second = cluster.processes
        for process in cluster.processes:
            wait(process, 1)
        ledger = first.connect()
        ledger.register("acme")
        program = new_program(ledger)
        tills = [
            Till(first.address, cluster.token(), program, f"member-{number}")
            for number in range(CALLERS)
        ]
        with ThreadPoolExecutor(CALLERS) as pool:
            running = [pool.submit(till.run, stopping) for till in tills]
            try:
                all_served(tills)
                first.stop()
                first.start()
                wait(first, 2)
                all_served(tills)
                # From here on the first has all the callers: it needs not come back for that.
                second.stop()
                all_served(tills)
            finally:
                stopping.set()
            for each in running:
                each.result(timeout=30)
        earned = {till.member: available(ledger, program, till.member) for till in tills}
        ledger.close()
    finally:
        stopping.set()
        faults = Counter(line for process in cluster.processes for line in process.faults())
        cluster.stop()

    assert second.process.returncode == 0
    slowest = max(till.slowest for till in tills)
    print(f"served {sum(till.served for till in tills)}, slowest {slowest:.3f} s")
    assert [failure for till in tills for failure in till.failures] == []
    assert min(till.served for till in tills) >= 3 * MORE
    assert slowest < DEADLINE_SECONDS / 2
    # What was answered was done once, whoever did it.
    assert earned == {till.member: till.served for till in tills}
    assert not faults
