"""MAIL and RCPT without a message, client side: what a host says of addresses (RFC 5321 3.3, 4.1.1.5).

What it is: a ``Transaction`` that ends with RSET where another has DATA.
Contract: each address has the host's reply to its RCPT, a yes too; no octet of a message is ever sent, so nothing can
be delivered by it.
How it fails: as a ``Transaction``.
"""

from __future__ import annotations

from mta.envelope import Scope
from mta.reply import Reply
from mta.smtp.client_transaction import Transaction, is_yes
from mta.smtp.client_values import Answer


class Probe(Transaction):
    """See the module's text."""

    __slots__ = ()

    def start(self) -> None:
        client, outgoing, times = self._client, self._outgoing, self._timeouts
        if not client.capabilities.pipelining:
            super().start()
            return
        client.write(b"\r\n".join((outgoing.mail, *outgoing.rcpts, b"RSET\r\n")))
        client.expect("MAIL", times.mail, self._mail)
        client.expect_more(self._rcpt, len(outgoing.rcpts))
        client.expect_more(self._reset)

    def _rcpt(self, reply: Reply) -> None:
        index = self._heard
        super()._rcpt(reply)
        if index in self._accepted:
            # Nothing follows: the yes to RCPT is the answer.
            self._answers[index] = Answer(reply, "RCPT", Scope.RECIPIENT)
            self._accepted.clear()

    def fail(self, reply: Reply, stage: str) -> None:
        """See ``Transaction``."""
        if self._client.confused:
            # More replies than were due: whose each of them was nobody knows.
            self._answers = [None] * len(self._answers)
        super().fail(reply, stage)

    def _reset(self, reply: Reply) -> None:
        if self._client.confused:
            return  # the end follows
        answers = [answer for answer in self._answers if answer is not None]
        self._end(answers, is_yes(reply) and 421 not in [answer.reply.code for answer in answers])
