"""Runs a suite of services and their database on one machine, as processes that end together."""

from chassis.supervise.errors import SuiteError
from chassis.supervise.home import Home
from chassis.supervise.service import Service, reachable_host
from chassis.supervise.supervisor import Supervisor

__all__ = ["Home", "Service", "SuiteError", "Supervisor", "reachable_host"]
