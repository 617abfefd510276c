"""The files by which mail programs set themselves up: Thunderbird's autoconfig, Outlook's autodiscover.  Pure.

What it is: ``client_files`` gives paths and contents for a web server: a folder for each host name, with what stands
below it.  The policy of MTA-STS is among them (RFC 8461 3.2), as the same web server has it.
Contract: XML as the two programs read it; only services with TLS are named.
Limits: Outlook sends a request with the address in it; the answer here is the same for everybody, and Outlook takes the
address that it has for the name to log in with.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from mta.admin.dns_wanted import Service, Site, sts_policy

_OUTLOOK_TYPES = {"submission": "SMTP", "imap": "IMAP", "pop3": "POP3"}


def client_files(domain: str, site: Site, username: str) -> dict[str, str]:
    """The files of a domain, by their path below a folder of host names.  ``username``: as ``clients.username``."""
    return {
        f"autoconfig.{domain}/mail/config-v1.1.xml": thunderbird(domain, site.services, username),
        f"autodiscover.{domain}/autodiscover/autodiscover.xml": outlook(domain, site.services, username),
        f"mta-sts.{domain}/.well-known/mta-sts.txt": sts_policy(site),
    }


def thunderbird(domain: str, services: Sequence[Service], username: str) -> str:
    """https://wiki.mozilla.org/Thunderbird:Autoconfiguration:ConfigFileFormat"""
    name = "%EMAILADDRESS%" if username == "address" else "%EMAILLOCALPART%"
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<clientConfig version="1.1">',
        f'  <emailProvider id="{escape(domain)}">',
        f"    <domain>{escape(domain)}</domain>",
        f"    <displayName>{escape(domain)}</displayName>",
    ]
    # The file format wants those that read before those that send.
    for service in sorted(services, key=lambda one: one.protocol == "submission"):
        sends = service.protocol == "submission"
        kind, tag = ("smtp", "outgoingServer") if sends else (service.protocol, "incomingServer")
        lines += [
            f'    <{tag} type="{kind}">',
            f"      <hostname>{escape(service.host)}</hostname>",
            f"      <port>{service.port}</port>",
            f"      <socketType>{'SSL' if service.implicit else 'STARTTLS'}</socketType>",
            f"      <username>{name}</username>",
            "      <authentication>password-cleartext</authentication>",
            f"    </{tag}>",
        ]
    return "\n".join([*lines, "  </emailProvider>", "</clientConfig>", ""])


def outlook(domain: str, services: Sequence[Service], username: str) -> str:
    """POX autodiscover, [MS-OXDSCLI] 2.2.4.1.1.2."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006">',
        '  <Response xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a">',
        "    <Account>",
        "      <AccountType>email</AccountType>",
        "      <Action>settings</Action>",
    ]
    for service in services:
        lines += [
            "      <Protocol>",
            f"        <Type>{_OUTLOOK_TYPES[service.protocol]}</Type>",
            f"        <Server>{escape(service.host)}</Server>",
            f"        <Port>{service.port}</Port>",
            f"        <DomainRequired>{'on' if username == 'address' else 'off'}</DomainRequired>",
            f"        <DomainName>{escape(domain) if username == 'address' else ''}</DomainName>",
            "        <SPA>off</SPA>",
            f"        <SSL>{'on' if service.implicit else 'off'}</SSL>",
            f"        <Encryption>{'SSL' if service.implicit else 'TLS'}</Encryption>",
            "        <AuthRequired>on</AuthRequired>",
            "      </Protocol>",
        ]
    return "\n".join([*lines, "    </Account>", "  </Response>", "</Autodiscover>", ""])
