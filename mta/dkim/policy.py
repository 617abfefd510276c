"""The message policy "dkim": signs what leaves in the name of its author's domain.

Contract: only mail of those who may send through us is signed: of clients in ``relay.networks``, of those who have
logged in, of ourselves.  What a stranger brings never is, whatever its From says.  The signature covers the message
with all edits so far, so nothing that changes it may come after (``mta check`` says so).
How it fails: as ``mta.dkim.signer``; what then becomes of the message is the policy's ``on_error``.
"""

from __future__ import annotations

from zope.interface import implementer

from mta import events
from mta.config.option import Options
from mta.dkim.signer import Signer
from mta.interfaces import IMessagePolicy
from mta.message.author import author_domain
from mta.message.header import Header
from mta.plugin import Services, provider
from mta.policy.values import MessageContext
from mta.verdict import Verdict


class DkimPolicyOptions(Options):
    """Signs mail of our own senders by DKIM; keys are made by `mta dkim keygen` (`docs/dkim.rst`). It belongs at the
    end of the list: what is changed after it breaks the signature."""


@implementer(IMessagePolicy)
@provider("policy.message", "dkim", DkimPolicyOptions)
class DkimPolicy:
    """See the module's text."""

    def __init__(self, options: DkimPolicyOptions, services: Services) -> None:
        self._signer: Signer | None = services.signer

    async def check(self, message: MessageContext) -> Verdict:
        """See ``IMessagePolicy``."""
        if self._signer is None or not message.rights:
            return Verdict.none()
        signer, author = self._signer, ""

        def choose(header: Header) -> str:
            nonlocal author
            author = author_domain(header)
            return signer.author(header)

        signed = await signer.sign(message.open(), choose)
        if signed.fields:
            return Verdict(edits=signed.edits, reasons=signed.story())
        why = f"there are no keys in use for {author}" if author else "From names no domain, or more than one"
        return Verdict(reasons=(events.UNSIGNED(why=why),))
