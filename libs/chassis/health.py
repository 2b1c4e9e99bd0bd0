"""Asks a service on this machine whether it serves: `python -m chassis.health PORT`.

Ends with 0 where it does and with 1 where it does not. It reads the same LOYALTY_TLS_… variables as
the service, whose certificate must name the host: for what cannot speak gRPC itself, such as the
health check of a container.
"""

import os
import sys

from chassis.supervise import SuiteError, reachable_host, read_certificates
from chassis.supervise.process import serving


def main(arguments: list[str]) -> int:
    """Ask the service at the port; answers the exit code."""
    if len(arguments) != 1 or not arguments[0].isdigit():
        sys.stderr.write("usage: python -m chassis.health PORT\n")
        return 2
    host = reachable_host(os.environ)
    try:
        certificates = read_certificates(os.environ, host.strip("[]"))
    except SuiteError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0 if serving(f"{host}:{arguments[0]}", certificates) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
