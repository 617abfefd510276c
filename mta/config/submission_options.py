"""The options of ``[service.submission]`` and ``[brake]``: what is asked of those who send mail with a login."""

from __future__ import annotations

from dataclasses import fields
from typing import Literal, TypeAlias

from mta.config.option import Name, Options, at_least, option
from mta.config.policy_options import once_each
from mta.submission.brake import Limits

#: How strictly a login is held to its own addresses; the words of ``mta.submission.identity.Mode``.
Identity: TypeAlias = Literal["strict", "relaxed", "off"]


def _percent(value: int) -> str | None:
    return None if 0 <= value <= 100 else "is no percentage; write 0 to 100"


class SubmissionOptions(Options):
    """Listeners for submission (RFC 6409): mail programs send there, with a login alone. See `docs/submission.rst`."""

    identity: Identity = option(
        "strict",
        doc='In whose name an account sends. "strict": MAIL FROM and each address of From and Sender are its own, '
        'subaddresses of those, or delegated to it. "relaxed": MAIL FROM, and From or Sender; to a From not its '
        'own Sender is added, so that readers see who it was. "off": any. A `[[listen]]` may say otherwise.',
    )
    policy: tuple[Name, ...] = option(
        (),
        doc="The policies that are asked, in order, as for `service.mx`; what submission itself demands comes first.",
        example='["dkim"]',
        check=once_each,
    )


def limits_of(options: BrakeOptions) -> Limits:
    """As the brake has them."""
    return Limits(**{one.name: getattr(options, one.name) for one in fields(Limits)})


class BrakeOptions(Options):
    """The brake on accounts that suddenly send much, as stolen ones do: when one of these is crossed, the mail of the
    account is held, none is lost, and its owner and the postmaster are told. `mta account release` ends that. 0 is no
    limit; an account may have its own of recipients."""

    messages_per_hour: int = option(300, doc="Messages of one account.", unit="messages", check=at_least(0))
    messages_per_day: int = option(2000, doc="The same in a day.", unit="messages", check=at_least(0))
    recipients_per_hour: int = option(
        1000, doc="Recipients of all messages of one account.", unit="recipients", check=at_least(0)
    )
    recipients_per_day: int = option(5000, doc="The same in a day.", unit="recipients", check=at_least(0))
    new_recipients_per_hour: int = option(
        300,
        doc="Recipients to whom the account has not written in the last 90 days: who writes to friends and customers "
        "knows most of them, who sends spam nobody.",
        unit="recipients",
        check=at_least(0),
    )
    bounces: int = option(
        30,
        doc="What part of an account's recipients of a day may fail for good, from `bounces_least` failures on.",
        unit="percent",
        check=_percent,
    )
    bounces_least: int = option(
        25, doc="So many failures at least, before their part counts.", unit="recipients", check=at_least(1)
    )
    networks_per_day: int = option(
        10,
        doc="Networks (/24 of IPv4, /56 of IPv6) from which the account sends in a day and did not in the 90 days "
        "before: one who travels comes from some, a stolen password from many.",
        unit="networks",
        check=at_least(0),
    )
