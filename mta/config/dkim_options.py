"""The options of ``[dkim]``: where keys for signing lie and how they are made and changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Literal

from mta.config.option import Duration, Options, Path, at_least, option
from mta.config.problems import Problem
from mta.config.section import Section
from mta.config.service_options import ServiceOptions
from mta.dkim.keys import MOST_BITS
from mta.dkim.store import KeyFiles, Unusable

if TYPE_CHECKING:
    from mta.config.check import Draft

_DAY: Final = 86400.0
_KINDS: Final = ("mx", "submission", "lmtp")
_MESSAGE: Final = "policy.message"
#: RFC 8301 3.2 wants 1024 at least and 2048 rather; less is not worth a new key.
_LEAST_BITS: Final = 2048


def _bits(value: int) -> str | None:
    return None if _LEAST_BITS <= value <= MOST_BITS else f"is not from {_LEAST_BITS} to {MOST_BITS}"


def _algorithms(value: tuple[str, ...]) -> str | None:
    if not value:
        return "is empty; write at least one"
    return 'has none that all verifiers know; add "rsa-sha256"' if "rsa-sha256" not in value else None


class DkimOptions(Options):
    """DKIM signatures (RFC 6376): `docs/dkim.rst`. Keys are made by `mta dkim keygen`. Reports and copies of lists are
    signed wherever there are keys; mail of senders is where the `policy` of their listener names one of type "dkim"."""

    keys: Path | None = option(
        None,
        doc='The folder of the keys, one folder in it for each domain. Left out: "dkim" in the state folder.',
        example='"../var/dkim"',
    )
    algorithms: tuple[Literal["rsa-sha256", "ed25519-sha256"], ...] = option(
        ("rsa-sha256", "ed25519-sha256"),
        doc="What keys are made. With both each message has two signatures, and whoever verifies takes the one that it "
        'knows: "ed25519-sha256" (RFC 8463) is not known everywhere.',
        check=_algorithms,
    )
    rsa_bits: int = option(
        2048,
        doc="The size of new RSA keys. Larger ones take longer and have no room in some DNS servers.",
        unit="bits",
        check=_bits,
    )
    parents: bool = option(
        False,
        doc="Whether a domain without keys is signed for by the one above it: mail from sub.example.org in the name of "
        "example.org, which DMARC takes unless it asks for adkim=s.",
        example="true",
    )
    rotate_after: Duration = option(
        180 * _DAY,
        doc="How long a key is used before `mta dkim rotate --due` makes the next one.",
        check=at_least(_DAY, "1d"),
    )
    retire_after: Duration = option(
        14 * _DAY,
        doc="How long the record of a key that is used no more has to stay in DNS, for mail that is still on its way; "
        "never shorter than `queue.expire_after`.",
        check=at_least(_DAY, "1d"),
    )


def _order(draft: Draft) -> Iterator[Problem]:
    """What is asked after the signature was made could change what it covers."""
    service = draft.found.get("service")
    lists = [
        (f"service.{kind}.policy", getattr(service, kind).policy)
        for kind in _KINDS
        if isinstance(service, ServiceOptions)
    ]
    lists += [(f"listen[{index}].policy", one.policy) for index, one in enumerate(draft.listen) if one is not None]
    sections = draft.found.get("policy", {})
    for path, names in lists:
        signed = ""
        for index, name in enumerate(names or ()):
            section = sections.get(name)
            if not isinstance(section, Section):
                continue
            if signed and section.type_name != "dkim" and any(cls.kind == _MESSAGE for cls in section.providers):
                what = f'"{name}" is asked after "{signed}", and could change what that has signed'
                yield draft.problem(f"{path}[{index}]", what, f'name "{signed}" last')
            if section.type_name == "dkim":
                signed = name


def keys_folder(state: str, options: DkimOptions) -> str:
    """Where keys are."""
    return options.keys or os.path.join(state, "dkim")


def dkim(draft: Draft) -> Iterator[Problem]:
    """What is wrong with the keys there are, and with where the policy stands; as ``mta.config.check``, of which it is
    a part."""
    yield from _order(draft)
    options = draft.found.get("dkim", DkimOptions())  # type: ignore[call-arg]  # all have defaults
    state = draft.found.get("state")
    if not isinstance(options, DkimOptions) or not (options.keys or isinstance(state, str)):
        return
    files = KeyFiles(keys_folder(state or "", options))
    try:
        for domain in files.domains():
            files.signing(domain)
    except Unusable as error:
        # Whoever may not look at keys cannot judge them: an operator in the group of the control socket.
        if not isinstance(error.__cause__, PermissionError):
            yield draft.problem("dkim.keys", str(error), "see docs/dkim.rst")
