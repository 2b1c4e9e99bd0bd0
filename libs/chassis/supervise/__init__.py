"""Runs a suite of services and their database on one machine, as processes that end together."""

from chassis.supervise.errors import SuiteError
from chassis.supervise.home import Home
from chassis.supervise.process import dial
from chassis.supervise.service import Service, reachable_host
from chassis.supervise.supervisor import Supervisor
from chassis.supervise.tls import Certificates, read_certificates

__all__ = [
    "Certificates",
    "Home",
    "Service",
    "SuiteError",
    "Supervisor",
    "dial",
    "reachable_host",
    "read_certificates",
]
