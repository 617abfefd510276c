"""EXTERNAL (RFC 4422 appendix A), server side: TLS has verified a certificate of the client, and that says who it is.

Contract: as ``mta.sasl.exchange``.  Whose certificate it is is decided by who takes ``ClientCertificate``.
"""

from __future__ import annotations

from dataclasses import replace

from mta.accounts.credentials import ClientCertificate
from mta.sasl.exchange import Done, Exchange, Failed, Step
from mta.sasl.passwords import MOST_NAME


class External(Exchange):
    """``certificate``: what TLS has verified."""

    name = "EXTERNAL"

    def __init__(self, certificate: ClientCertificate) -> None:
        self._certificate = certificate

    def step(self, response: bytes) -> Step:
        # RFC 4422 appendix A.1: the identity to act as, or nothing: UTF-8 without NUL.
        if b"\0" in response or len(response) > MOST_NAME:
            return Failed("the name is not well formed")
        try:
            response.decode("utf-8")
        except UnicodeDecodeError:
            return Failed("it is not UTF-8")
        return Done(replace(self._certificate, username=response))
