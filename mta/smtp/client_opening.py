"""How a connection begins, client side: greeting, EHLO, STARTTLS, EHLO again, AUTH (RFC 5321 3.2, 3207, 4954).

What it is: ``Terms`` say what a connection must be; ``Opening`` brings it there, step by step.
Contract: nothing that was said before TLS counts after it.  Where TLS is demanded, and where we log in, nothing but
EHLO, STARTTLS and QUIT is ever said in clear, nor to a host that its certificate does not prove.
How it fails: ``SmtpClient.ready`` fails with ``ClientFailure``: the stage is "STARTTLS" where the host has no TLS,
"TLS" where the handshake or the certificate is not good, "AUTH" where we cannot log in.  What we reply to these is
always temporary: it is a matter of configuration on one side or the other.
Limits: ``MOST_STEPS`` challenges in one login; each reply and the handshake have ``Timeouts.greeting``.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mta.reply import Reply
from mta.sasl.client import ClientMechanism, Login, SaslError, choose
from mta.smtp.extensions import Capabilities
from mta.tls.client import Handshake, TlsLevel

if TYPE_CHECKING:
    from mta.smtp.client import SmtpClient

MOST_STEPS: Final = 10
#: RFC 5321 4.5.3.1.4, with CRLF.  RFC 4954 4: a longer initial response follows on an empty challenge.
_LONGEST_COMMAND: Final = 512

NO_STARTTLS: Final = Reply.of(451, "4.7.10", "The host offers no TLS, which is required here")
NO_AUTH: Final = Reply.of(454, "4.7.0", "The host offers no way to log in that we may use")
UNPROVED: Final = Reply.of(454, "4.7.0", "Our login is not given to a host that TLS does not prove")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a connection must be before it takes a transaction.

    ``host`` and ``port`` are where it leads; ``handshake`` is the TLS of this one connection (None: no TLS);
    ``implicit``: TLS begins with the connection (RFC 8314 3).  ``login`` is given to a proved host only, unless
    ``login_in_clear``.  ``verb`` greets: LHLO for LMTP (RFC 2033 4.1).
    """

    host: str = ""
    port: int = 25
    level: TlsLevel = TlsLevel.NONE
    handshake: Handshake | None = None
    implicit: bool = False
    login: Login | None = None
    login_in_clear: bool = False
    verb: bytes = b"EHLO"


PLAIN_TERMS: Final = Terms()


class Opening:
    """See the module's text.  It ends with ``client.be_ready`` or ``client.refuse``."""

    __slots__ = ("_client", "_hello", "_mechanism", "_pending", "_steps", "_terms", "_trouble")

    def __init__(self, client: SmtpClient, hello: str, terms: Terms) -> None:
        self._client = client
        self._hello = hello.encode("ascii")
        self._terms = terms

    def connected(self) -> None:
        if self._terms.implicit:
            self._start_tls()
        else:
            self._expect_greeting()

    # --- greeting ------------------------------------------------------------------------------------------

    def _expect_greeting(self) -> None:
        self._client.expect("greeting", self._client.timeouts.greeting, self._greeted)

    def _greeted(self, reply: Reply) -> None:
        if reply.code == 220:
            self._greet()
        else:
            self._client.refuse(reply)

    def _greet(self) -> None:
        verb = self._terms.verb
        self._say(verb + b" " + self._hello, verb.decode("ascii"), self._capable)

    def _capable(self, reply: Reply) -> None:
        if reply.code == 250:
            self._client.capabilities = Capabilities.read(reply.lines[1:])
            self._client.name = reply.lines[0].partition(" ")[0].rstrip(".").lower()
            self._go_on()
        elif reply.permanent and self._terms.verb == b"EHLO":
            # RFC 5321 3.2: a server that does not know EHLO gets HELO.
            self._say(b"HELO " + self._hello, "HELO", self._helo)
        else:
            self._client.refuse(reply)

    def _helo(self, reply: Reply) -> None:
        if reply.code == 250:
            self._go_on()
        else:
            self._client.refuse(reply)

    def _go_on(self) -> None:
        client, terms = self._client, self._terms
        if client.tls is None and terms.level > TlsLevel.NONE:
            if client.capabilities.starttls and terms.handshake is not None:
                self._say(b"STARTTLS", "STARTTLS", self._starttls)
                return
            if terms.level.required:
                # RFC 8461 5, RFC 7672 2.2: never in clear.
                client.refuse(NO_STARTTLS, "STARTTLS")
                return
        self._after_tls()

    def _after_tls(self) -> None:
        if self._terms.login is not None:
            self._log_in(self._terms.login)
        else:
            self._client.be_ready()

    # --- TLS -----------------------------------------------------------------------------------------------

    def _starttls(self, reply: Reply) -> None:
        if reply.code == 220:
            # CVE-2021-38371: octets behind the reply would count as sent under TLS; then the client is confused by now,
            # and the connection ends.
            if not self._client.confused:
                self._start_tls()
        elif self._terms.level.required:
            self._client.refuse(Reply.of(451, "4.7.10", f"STARTTLS was refused: {reply}"))
        elif reply.code == 421:
            self._client.refuse(reply)
        else:
            # RFC 3207 4: whether to go on without is ours to decide.
            self._after_tls()

    def _start_tls(self) -> None:
        client, handshake = self._client, self._terms.handshake
        assert handshake is not None
        client.step_to("TLS", client.timeouts.greeting)
        client.start_tls(handshake)

    def handshaken(self) -> None:
        """TLS is there: RFC 3207 4.2: all that was known before is forgotten."""
        client, handshake = self._client, self._terms.handshake
        assert handshake is not None
        client.tls = tls = handshake.result()
        client.capabilities = Capabilities()
        if self._terms.level is TlsLevel.VERIFY and tls.trouble:
            client.drop(Reply.of(451, "4.7.5", f"TLS: {tls.trouble}"))
        elif self._terms.implicit:
            self._expect_greeting()
        else:
            self._greet()

    # --- AUTH ----------------------------------------------------------------------------------------------

    def _log_in(self, login: Login) -> None:
        client, terms = self._client, self._terms
        proved = client.tls is not None and not client.tls.trouble
        if not proved and not terms.login_in_clear:
            client.refuse(UNPROVED, "AUTH")
            return
        binding = terms.handshake.binding() if proved and terms.handshake is not None else b""
        try:
            mechanism = choose(login, client.capabilities.auth, host=terms.host, port=terms.port, binding=binding)
            if mechanism is None:
                client.refuse(NO_AUTH, "AUTH")
                return
            initial = mechanism.start()
        except SaslError as error:
            client.refuse(_no_login(str(error)), "AUTH")
            return
        self._mechanism: ClientMechanism = mechanism
        self._steps = 0
        self._trouble = ""
        self._pending: bytes | None = None
        line = b"AUTH " + mechanism.name.encode("ascii")
        if initial is not None:
            response = b64encode(initial) or b"="  # RFC 4954 4
            if len(line) + len(response) + 3 <= _LONGEST_COMMAND:
                line += b" " + response
            else:
                self._pending = response
        self._say(line, "AUTH", self._authenticated)

    def _authenticated(self, reply: Reply) -> None:
        if reply.code == 334 and self._trouble:
            # RFC 4954 4: it had to end the exchange, in which QUIT would be one more answer.
            self._client.drop(_no_login(self._trouble))
        elif reply.code == 334:
            self._steps += 1
            self._say(self._answer(reply), "AUTH", self._authenticated)
        elif reply.code == 235 and self._mechanism.done and not self._trouble:
            self._client.be_ready()
        elif reply.code == 235:
            why = self._trouble or "the server took our login before it proved that it knows the password"
            self._client.refuse(_no_login(why))
        else:
            told = getattr(self._mechanism, "refusal", "")
            self._client.refuse(_no_login(self._trouble or f"{reply}{f' ({told})' if told else ''}"))

    def _answer(self, reply: Reply) -> bytes:
        """To a challenge; "*" ends the exchange (RFC 4954 4)."""
        if self._steps > MOST_STEPS:
            self._trouble = "the challenges do not end"
            return b"*"
        if self._pending is not None:
            response, self._pending = self._pending, None
            return response
        try:
            challenge = b64decode("".join(reply.lines).strip(), validate=True)
        except ValueError:
            self._trouble = "the challenge is not base64"
            return b"*"
        try:
            return b64encode(self._mechanism.step(challenge))
        except SaslError as error:
            self._trouble = str(error)
            return b"*"

    def _say(self, line: bytes, stage: str, handler: Callable[[Reply], None]) -> None:
        self._client.write(line + b"\r\n")
        self._client.expect(stage, self._client.timeouts.greeting, handler)


def _no_login(why: str) -> Reply:
    """Trouble with our login is a matter of configuration: it never fails a message."""
    return Reply.of(454, "4.7.0", f"We could not log in: {why}")
