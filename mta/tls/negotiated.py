"""What a handshake came to, in words: for Received, the log and the story of a message."""

from __future__ import annotations

from typing import Final

from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted, ConnectionClosed
from twisted.python.failure import Failure

from mta.tls.contexts import reasons

MAX_REASON: Final = 200


def negotiated(connection: SSL.Connection) -> str:
    """Version and cipher, such as "TLSv1.3 TLS_AES_256_GCM_SHA384"."""
    return f"{connection.get_protocol_version_name()} {connection.get_cipher_name()}"


def why_failed(failure: Failure) -> str:
    """Why a handshake did not come to its end."""
    error = failure.value
    if isinstance(error, SSL.Error):
        said = reasons(error)
    elif isinstance(error, ConnectionAborted):
        said = "it took too long"
    elif isinstance(error, ConnectionClosed):
        said = "the client closed the connection"
    else:
        said = failure.getErrorMessage()
    return said[:MAX_REASON]
