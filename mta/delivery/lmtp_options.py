"""The options of the delivery service ``lmtp``, with their checks."""

from __future__ import annotations

from collections.abc import Iterator

from mta.config.option import Path, option
from mta.delivery.smtp_options import SmtpOptions, check_host, check_port


def _not_smtp(value: int) -> str | None:
    # RFC 2033 5
    return "is the port of SMTP, where LMTP is never spoken; write such as 24" if value == 25 else check_port(value)


class LmtpOptions(SmtpOptions):
    """Delivers by LMTP (RFC 2033) into the mailboxes of a server such as Dovecot, at ``path`` or at ``host``.

    At a UNIX socket there is no TLS, and nobody who could listen: if we log in there, it is in clear.
    """

    path: Path | None = option(
        None,
        doc="The UNIX socket of the server, which our user must be allowed to write to.",
        example='"/run/dovecot/lmtp"',
    )
    host: str = option("", doc="The server, where it is at a TCP port and not at `path`.", check=check_host)
    port: int = option(24, doc="The port to connect to.", unit="port", check=_not_smtp)

    def contradictions(self) -> Iterator[tuple[str, str, str]]:
        """See ``Options``."""
        if self.path is None and not self.host:
            yield "path", "the server is missing", 'write path = "/run/dovecot/lmtp", or host and port'
        if self.path is not None:
            if self.host:
                yield "host", "the server is at path already", "leave out one of them"
            if self.tls in ("encrypt", "verify") or self.tls_implicit:
                yield "path", "there is no TLS at a UNIX socket", "leave out what demands it: tls, tls_implicit"
        yield from super().contradictions()

    @property
    def named(self) -> bool:
        """See ``SmtpOptions``."""
        return bool(self.host or self.path)
