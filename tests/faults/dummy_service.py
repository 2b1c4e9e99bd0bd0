"""A service that only says that it serves, and writes down when it starts and stops."""

import os
import signal
import sys
import time
from concurrent import futures
from pathlib import Path

import grpc
from grpc_health.v1 import (  # type: ignore[import-untyped]  # ships no types
    health,
    health_pb2,
    health_pb2_grpc,
)


def main(name: str, variable: str, journal: Path) -> None:
    def note(what: str) -> None:
        with journal.open("a") as file:
            file.write(f"{name} {what}\n")

    if os.environ.get(f"LOYALTY_{name.upper()}_BREAKS"):
        sys.exit("this cannot work")
    server = grpc.server(futures.ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(f"127.0.0.1:{os.environ[variable]}")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    server.start()
    note(f"starts {sorted(each for each in os.environ if each.endswith('_DSN'))}")
    signal.sigwait({signal.SIGTERM})
    note("stops")
    server.stop(0.2)
    time.sleep(0.2)
    note("stopped")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
