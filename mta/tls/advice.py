"""What `mta check` says of certificates: what is wrong with them, what ends soon, and what would be better.

Contract: reads the files anew, as whoever runs it; the service is not asked and nothing is changed.
"""

from __future__ import annotations

from typing import NamedTuple

from mta.config.schema import Configuration
from mta.tls.certificates import Certificate, CertificateError, NotReadable
from mta.tls.contexts import make_context
from mta.tls.files import CertificateFiles
from mta.tls.keeper import day, places_of, policy_of


class Advice(NamedTuple):
    """Lines for people: ``errors`` hinder a start."""

    errors: list[str]
    warnings: list[str]
    hints: list[str]


def advise(configuration: Configuration, now: int) -> Advice:
    """Look at the certificates that the configuration names; ``now`` is UTC milliseconds."""
    advice = Advice([], [], [])
    options = configuration.tls
    places = places_of(options)
    if all(listener.tls == "none" for listener in configuration.listen):
        advice.hints.append("no listener has TLS: mail travels in clear")
        return advice
    if not places:
        if options.self_signed:
            advice.hints.append(
                "tls: no certificate is named: a self-signed one is used, which proves nothing to anybody"
            )
        else:
            advice.hints.append("tls: no certificate is named: STARTTLS is not offered, mail travels in clear")
        return advice
    policy = policy_of(options)
    files = CertificateFiles(places, lambda one: make_context(one, policy))
    for error in files.refresh().missing:
        _told(advice, error)
    for one in files.certificates:
        _dates(advice, one, now, options.warn_before)
    default = files.default(configuration.hostname)
    if default is not None and not advice.errors and not files.named(configuration.hostname):
        what = f"no certificate is for {configuration.hostname}; {default.place} is shown in its place"
        advice.warnings.append(f"tls: {what}, and hosts that verify it send us nothing: have one made for that name")
    return advice


def _told(advice: Advice, error: CertificateError) -> None:
    if isinstance(error, NotReadable):
        advice.warnings.append(f"tls: {error} by who runs this; the service must be able to, when it starts")
    else:
        advice.errors.append(f"tls: {error}")


def _dates(advice: Advice, one: Certificate, now: int, warn_before: float) -> None:
    if one.expires <= now:
        advice.warnings.append(f"tls: {one.place} for {one.name} ended on {day(one.expires)}")
    elif one.expires - now <= warn_before * 1000:
        advice.warnings.append(f"tls: {one.place} for {one.name} ends on {day(one.expires)}")
    if one.begins > now:
        advice.warnings.append(f"tls: {one.place} for {one.name} is not valid before {day(one.begins)}")
