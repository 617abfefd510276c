"""The options of ``[clients]``: what mail programs are told of a domain so that they set themselves up."""

from __future__ import annotations

import re
from typing import Final, Literal

from mta.config.option import DomainName, Options, option

_HOST_PORT: Final = re.compile(r"(?!-)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+:([0-9]{1,5})\Z")


def _host_port(value: str | None) -> str | None:
    found = None if value is None else _HOST_PORT.match(value)
    if value is None or (found is not None and 0 < int(found[1]) < 65536):
        return None
    return 'is no name and port; write such as "imap.example.org:993"'


class ClientOptions(Options):
    """What mail programs are told, by DNS (RFC 6186, RFC 8314) and by the files of Thunderbird and Outlook: `mta dns`
    prints the records and writes the files (`docs/dns-records.rst`). Where mail is submitted is known by the listeners
    of kind "submission"; where it is read is not our affair, and is said here."""

    imap: str | None = option(
        None,
        doc="Where mail is read by IMAP: port 993 is TLS from the start, any other STARTTLS.",
        example='"imap.example.org:993"',
        check=_host_port,
    )
    pop3: str | None = option(
        None,
        doc="Where mail is read by POP3: port 995 is TLS from the start, any other STARTTLS.",
        example='"pop.example.org:995"',
        check=_host_port,
    )
    username: Literal["address", "local_part"] = option(
        "address", doc='The name to log in with: the whole address, or what stands before its "@".'
    )
    web: DomainName | None = option(
        None,
        doc="The web server that has the files which `mta dns --files` writes: autoconfig, autodiscover and the policy "
        "of MTA-STS. Left out: no records for them.",
        example='"www.example.org"',
    )
