"""What callers of the loyalty suite install: typed stubs, a client and the `loyalty` command.

The stubs lie where their proto packages say: `from loyalty.ledger.v1 import ledger_pb2`. The client
is `loyalty.client`.
"""
