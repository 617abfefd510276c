"""``mta route``: what would become of a message, with every reason; and what another configuration would do otherwise.

Contract: nothing is sent, stored or changed, and no running service is asked: the replies are those of the real session
code on a trial (``mta.trial``), the ways those that the configuration's own parts decide.  DNS is asked for mail hosts
(not with --no-dns), tables over the network are asked; next hosts are asked for addresses with --call-ahead alone.
How it fails: exit status 1 where the client would be refused, or with --against where anything differs.
Limits: ``MOST_ADDRESSES`` are compared; ``mta.admin.trying.WAIT`` seconds in all for one message.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from typing import Any, BinaryIO, Final

import click

from mta.admin.route_against import MOST_ADDRESSES, addresses_of, configuration_at, difference_lines, differing
from mta.admin.route_text import lines
from mta.admin.route_values import values
from mta.admin.setting import Setting, as_json, now_ms, pass_setting
from mta.admin.trying import Outside
from mta.config.load import Configuration
from mta.dns.fake import FakeResolver
from mta.trial.trial import Trial
from mta.trial.values import CLIENT, HELO, MESSAGE, SENDER, Mail

MOST_MESSAGE: Final = 64 << 20


def _ip(context: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        return str(ip_address(value))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no IP address") from None


@click.command()
@click.argument("address", nargs=-1)
@click.option("--from", "sender", default=SENDER, show_default=True, help='The address in MAIL; "" for a report.')
@click.option("--client", default=CLIENT, show_default=True, callback=_ip, help="The client's IP address.")
@click.option("--helo", default=HELO, show_default=True, help="The name in EHLO.")
@click.option("--auth", "login", default="", metavar="USER", help="Who has authenticated.")
@click.option("--size", type=click.IntRange(min=0), default=0, help="SIZE in MAIL, in octets.")
@click.option("--listener", default="", help="The name of a listener [default: the first for SMTP].")
@click.option("--message", type=click.File("rb"), help="A message to be tried in place of a short one.")
@click.option("--no-dns", is_flag=True, help="Do not ask DNS for mail hosts.")
@click.option("--call-ahead", is_flag=True, help="Ask next hosts whether they take the address, as at RCPT.")
@click.option(
    "--against", metavar="PATH", help="Another configuration, or its folder: show what it would do differently."
)
@click.option("--addresses", type=click.File("r"), help="A file of addresses to be compared, one a line.")
@as_json
@pass_setting
def route(
    setting: Setting,
    address: tuple[str, ...],
    sender: str,
    client: str,
    helo: str,
    login: str,
    size: int,
    listener: str,
    message: BinaryIO | None,
    no_dns: bool,
    call_ahead: bool,
    against: str | None,
    addresses: Any,
    as_json: bool,
) -> None:
    """What would become of a message to ADDRESS, and why; nothing is sent.

    Exits with 1 if the client would be refused, or with --against if anything differs.
    """
    if addresses is not None and against is None:
        raise click.UsageError("--addresses is for --against")
    recipients = (*address, *(addresses_of(addresses) if addresses is not None else ()))
    if not recipients:
        raise click.UsageError("say an address")
    octets = MESSAGE if message is None else _with_crlf(message.read(MOST_MESSAGE))
    mail = Mail(
        recipients=recipients,
        sender=sender,
        client=client,
        helo=helo,
        login=login,
        listener=listener,
        size=size,
        message=octets,
    )
    try:
        if against is not None:
            _against(setting, mail, configuration_at(against), as_json)
        else:
            _show(setting.configuration, mail, no_dns, call_ahead, as_json)
    except (LookupError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error


def _with_crlf(octets: bytes) -> bytes:
    """A file as it would be sent."""
    lines = octets.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n")
    return b"".join(line + b"\r\n" for line in lines)


def _show(configuration: Configuration, mail: Mail, no_dns: bool, call_ahead: bool, as_json: bool) -> None:
    outside = Outside()
    resolver = outside.resolver(configuration)
    decides = outside.deciding(configuration, resolver, call_ahead)
    trial = Trial(decides, resolver=None if no_dns else resolver, names=FakeResolver(), now=now_ms)

    async def work() -> dict[str, Any]:
        return await values(decides, mail, await trial.run(mail))

    found = outside.run(work)
    if as_json:
        click.echo(json.dumps(found))
    else:
        for line in lines(found):
            click.echo(line)
    if not found["accepted"]:
        raise click.exceptions.Exit(1)


def _against(setting: Setting, mail: Mail, other: Configuration, as_json: bool) -> None:
    if len(mail.recipients) > MOST_ADDRESSES:
        raise click.ClickException(f"over {MOST_ADDRESSES:,} addresses; compare them in parts")
    found = differing(setting.configuration, other, [replace(mail, recipients=(one,)) for one in mail.recipients])
    if as_json:
        click.echo(json.dumps({"compared": len(mail.recipients), "different": found}))
    else:
        for line in _told(found, len(mail.recipients)):
            click.echo(line)
    if found:
        raise click.exceptions.Exit(1)


def _told(found: list[dict[str, Any]], compared: int) -> Iterator[str]:
    for one in found:
        yield from difference_lines(one)
    yield f"{len(found):,} of {compared:,} differ" if found else f"no difference for {compared:,}"
