"""The twistd plugin: ``twistd mta`` and ``python -m twisted mta``."""

from twisted.application.service import ServiceMaker

mta = ServiceMaker("txmta", "mta.service", "A mail transfer agent: ESMTP in, durable spool, delivery out.", "mta")
