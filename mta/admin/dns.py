"""``mta dns``: the DNS records that the configuration asks for, and whether DNS has them.

Contract: what is printed can be put into a zone file.  With ``--check`` DNS is asked; without, nothing is, and nothing
is sent: the addresses of this host are those that the configuration names, those of ``--address``, or the ones that the
system would send from.
How it fails: exit status 1 with ``--check`` where a record that is needed is missing, or any is wrong.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_address
from typing import Any, Final

import click
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mta.address import AddressError, normal_domain
from mta.admin.autoconfig import client_files
from mta.admin.dns_asking import Asked, ask_dns
from mta.admin.dns_judging import judged, question
from mta.admin.dns_wanted import Service, Site, Wanted, Zone, domain_records, host_records
from mta.admin.setting import Setting, as_json, output, pass_setting
from mta.admin.zone import zone_line
from mta.config.dkim_options import keys_folder
from mta.config.endpoint import bound_to, tcp_port
from mta.config.load import Configuration
from mta.config.values import nearest
from mta.delivery.smtp_options import SmtpOptions
from mta.dkim.published import Judgement, Seen
from mta.dkim.store import KeyFiles, Unusable
from mta.tls.files import CertificateFiles, Places

#: Where nothing is sent: a socket that is connected to them tells which address it would send from.
_ELSEWHERE: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def _address(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(str(ip_address(value)) for value in values)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.argument("domain", required=False)
@click.option("--address", multiple=True, callback=_address, metavar="IP", help="An address of this host.")
@click.option("--check", "checks", is_flag=True, help="Compare with what DNS has.")
@click.option("--files", type=click.Path(file_okay=False), help="Write the files for mail programs into this folder.")
@as_json
@pass_setting
def dns(
    setting: Setting, domain: str | None, address: tuple[str, ...], checks: bool, files: str | None, as_json: bool
) -> None:
    """The DNS records that a domain needs, or all domains; those of this host too.

    With --check it exits with 1 if one is missing that is needed, or any is wrong.
    """
    configuration = setting.configuration
    zones = _zones(configuration, domain)
    site = _site(configuration, address)
    if checks and not site.addresses:
        # Then those that DNS has are to be right at least.
        known = Asked("addresses", site.hostname)
        site = replace(site, addresses=ask_dns(configuration, [known])[known].records)
    groups = {zone.name: list(domain_records(site, zone)) for zone in zones}
    host = site.hostname
    groups[host] = [*groups.get(host, ()), *host_records(site)]
    wanted = [one for group in groups.values() for one in group]
    found = _checked(configuration, wanted, site) if checks else {}
    if files is not None:
        for zone in zones:
            if not (zone.null or zone.backup or zone.bare):
                _write(files, client_files(zone.name, site, configuration.clients.username))
    output(
        [_values(one, found) for one in wanted],
        as_json,
        lambda: [line for name, group in groups.items() for line in _lines(name, group, found)],
    )
    if any(_bad(one, seen) for one, seen in found.items()):
        raise click.exceptions.Exit(1)


# --- from the configuration --------------------------------------------------------------------------------


def _zones(configuration: Configuration, only: str | None) -> list[Zone]:
    """The domains, with their keys; a domain that has only keys is one too."""
    files = KeyFiles(keys_folder(configuration.state, configuration.dkim))
    try:
        names = [name for name in configuration.domains if not name.startswith("[")]
        srs = configuration.srs.domain
        names += [name for name in (*files.domains(), *([srs] if srs else [])) if name not in names]
        names = list(dict.fromkeys(names))
        if only is not None:
            wanted = _normal(only)
            if wanted not in names:
                raise click.ClickException(f"{wanted} is no domain of the configuration: {nearest(wanted, names)}")
            names = [wanted]
        return [_zone(configuration, name, files) for name in names]
    except Unusable as error:
        raise click.ClickException(str(error)) from error


def _normal(text: str) -> str:
    try:
        return normal_domain(text)
    except AddressError as error:
        raise click.UsageError(f"{text!r} is no domain: {error}") from None


def _zone(configuration: Configuration, name: str, files: KeyFiles) -> Zone:
    options = configuration.domains.get(name)
    return Zone(
        name=name,
        keys=files.ledger(name).entries,
        backup=options is not None and options.relay,
        null=options is not None and options.null,
        bare=options is None and name == configuration.srs.domain,
    )


def _site(configuration: Configuration, given: Sequence[str]) -> Site:
    internet = configuration.delivery.get("internet")
    options = internet.options if internet is not None else None
    smtp = [one.options for one in configuration.delivery.values() if isinstance(one.options, SmtpOptions)]
    sources = [source for one in smtp for source in one.source if ip_address(source).is_global]
    bound = [bound_to(listen.endpoint) for listen in configuration.listen if listen.service == "mx"]
    known = [address for address in bound if _is_global(address)]
    return Site(
        hostname=configuration.hostname,
        addresses=tuple(dict.fromkeys(given or known or _own_addresses())),
        sources=tuple(dict.fromkeys(sources)),
        smart_host=(options.host or "") if isinstance(options, SmtpOptions) else "",
        tlsa=_tlsa(configuration),
        services=tuple(_services(configuration)),
        web=configuration.clients.web or "",
    )


def _services(configuration: Configuration) -> Iterator[Service]:
    for listen in configuration.listen:
        port = tcp_port(listen.endpoint)
        if listen.service == "submission" and port and listen.tls != "none":
            yield Service("submission", configuration.hostname, port, listen.tls == "implicit")
    clients = configuration.clients
    for protocol, place, implicit in (("imap", clients.imap, 993), ("pop3", clients.pop3, 995)):
        if place:
            host, _, port_text = place.rpartition(":")
            yield Service(protocol, host.lower(), int(port_text), int(port_text) == implicit)


def _is_global(address: str) -> bool:
    try:
        return ip_address(address).is_global
    except ValueError:
        return False


def _own_addresses() -> list[str]:
    """Those that the system would send from, as far as others can reach them."""
    found = []
    for family, elsewhere in _ELSEWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((elsewhere, 9))
                found.append(str(probe.getsockname()[0]))
        except OSError:
            continue
    return [address for address in found if _is_global(address)]


def _tlsa(configuration: Configuration) -> str:
    """The digest of the key of this host's certificate, in hex; "" where there is none of the configuration's."""
    options = configuration.tls
    places = Places(options.certificate or "", options.key or "", options.certificates or "")
    if not places:
        return ""
    files = CertificateFiles(places, lambda certificate: None)
    files.refresh()
    certificate = files.named(configuration.hostname) or files.default(configuration.hostname)
    if certificate is None:
        click.echo("warning: no certificate can be read, so there is no TLSA record here", err=True)
        return ""
    key = certificate.leaf.public_key()
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


# --- checking and showing ----------------------------------------------------------------------------------


def _checked(configuration: Configuration, wanted: Sequence[Wanted], site: Site) -> dict[Wanted, Judgement]:
    asked: dict[Wanted, Asked] = {}
    addresses = iter(site.addresses)
    for one in wanted:
        asked[one] = question(one, next(addresses) if one.kind == "PTR" else "")
    try:
        answers = ask_dns(configuration, asked.values())
    except OSError as error:
        raise click.ClickException(f"DNS cannot be asked: {error}") from error
    return {one: judged(one, answers[asked[one]], site) for one in wanted}


def _bad(wanted: Wanted, found: Judgement) -> bool:
    return found.seen is Seen.WRONG or (wanted.needed and found.seen is not Seen.RIGHT)


def _lines(name: str, group: Sequence[Wanted], found: Mapping[Wanted, Judgement]) -> Iterator[str]:
    yield f"; {name}"
    for one in group:
        line = zone_line(one.name, one.kind, one.data) if one.data else f"; {one.name}. IN {one.kind} ?"
        judgement = found.get(one)
        if judgement is None:
            yield f"; {one.why}"
            yield line
            continue
        optional = "" if one.needed or judgement.seen is not Seen.MISSING else ", and not needed"
        yield f"{judgement.seen.upper():<8} {line}"
        if judgement.seen is not Seen.RIGHT or judgement.text != "in DNS":
            yield f"         {judgement.text}{optional} ({one.why})"


def _values(one: Wanted, found: Mapping[Wanted, Judgement]) -> dict[str, Any]:
    judgement = found.get(one)
    return {
        "name": one.name,
        "type": one.kind,
        "data": one.data,
        "why": one.why,
        "needed": one.needed,
        "dns": None if judgement is None else judgement._asdict(),
    }


def _write(folder: str, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        place = os.path.join(folder, path)
        try:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "w", encoding="utf-8", newline="") as file:
                file.write(text)
        except OSError as error:
            raise click.ClickException(f"{place} cannot be written: {error.strerror or error}") from error
        click.echo(f"written: {place}", err=True)
