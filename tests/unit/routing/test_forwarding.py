"""In whose name forwarded mail goes on, and why."""

from __future__ import annotations

from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.dns.fake import FakeResolver
from mta.envelope import Destination, Envelope, Origin, Recipient, Right
from mta.reply import TemporaryFailure
from mta.routing.ask import Answerer, resolve
from mta.routing.forwarding import Forwarding, ForwardRule, Proof, Rewriting, decide_rewrite
from mta.routing.patterns import DomainPatterns
from mta.routing.srs import Srs, day_of
from mta.routing.values import CannotKnow, HeaderQuestion, Rewrite, Route

ZONE: Final = """
strict.example TXT "v=spf1 mx -all"
open.example TXT "v=spf1 +all"
bank.example TXT "v=spf1 mx -all"
_dmarc.bank.example TXT "v=DMARC1; p=reject"
_dmarc.nospf.example TXT "v=DMARC1; p=quarantine"
lost.example servfail
_dmarc.lost.example servfail
"""
ARRIVED: Final = 1_795_478_400_000  # 24 November 2026
ANN: Final = Address("ann", "strict.example")
INFO: Final = Address("info", "ours.example")
PATH: Final = ("alias:info@ours.example",)
SRS: Final = Srs(domain="srs.ours.example", keys=(b"tops3cr3t",))


def rule(name: str, rewriting: Rewriting, to: str = "*", sender: str = "*", *proofs: Proof) -> ForwardRule:
    return ForwardRule(name, DomainPatterns([to]), DomainPatterns([sender]), frozenset(proofs), rewriting)


class Decided(SynchronousTestCase):
    rules: tuple[ForwardRule, ...] = ()

    def decide(
        self,
        sender: Address | None = ANN,
        *,
        author: str = "",
        to: str = "bob@y.example",
        path: tuple[str, ...] = PATH,
        service: str = "internet",
        rights: frozenset[Right] = frozenset(),
        signed: str = "",
        original: Address = INFO,
        header: Any = None,
        rules: tuple[ForwardRule, ...] = (),
        **more: Any,
    ) -> Rewrite | None:
        forwarding = Forwarding(
            srs=more.pop("srs", SRS),
            ours=frozenset({"ours.example", "srs.ours.example", "backup.example"}),
            final=frozenset({"local"}),
            rules=rules,
        )
        envelope = Envelope(
            origin=Origin(listener="mx", protocol="ESMTP"), reverse_path=sender, arrived=ARRIVED, rights=rights, **more
        )
        address = Address.parse(to)
        destination = Destination(service, address.domain)
        recipient = Recipient(id=0, address=address, original=original, destination=destination, due=ARRIVED, path=path)
        if header is None:
            header = f"From: {author or sender or 'a@a.example'}\r\n".encode()
            if signed:
                header += f"DKIM-Signature: v=1; d={signed}; s=x\r\n".encode()
            header += b"\r\n"
        self.dns = FakeResolver(ZONE)
        answerer = Answerer({}, self.dns, {HeaderQuestion: lambda question: header})
        decision: Any = resolve(
            lambda facts: decide_rewrite(forwarding, envelope, recipient, Route(destination=destination), facts),
            {},
            answerer,
        )
        found: Rewrite | None = decision
        return found

    def said(self, *arguments: Any, **more: Any) -> str:
        rewrite = self.decide(*arguments, **more)
        return "no forwarding" if rewrite is None else str(rewrite.reason)

    def test_what_is_needed_and_no_more(self) -> None:
        """The table of docs/forwarding.rst."""
        ours = Address("x", "ours.example")
        for sender, more, said in (
            (ANN, {}, "SRS (strict.example has SPF -all)"),
            (
                Address("x", "open.example"),
                {},
                "unchanged (the SPF of open.example ends with +all: anybody may send for it)",
            ),
            (Address("x", "none.example"), {}, "unchanged (none.example has no SPF)"),
            (Address("x", "[192.0.2.1]"), {}, "unchanged ([192.0.2.1] is no name and has no SPF)"),
            (Address("x", "lost.example"), {}, "SRS (the SPF of lost.example cannot be known)"),
            (None, {}, "unchanged (the null sender is never changed)"),
            (ours, {}, "unchanged (ours.example is ours)"),
            (ANN, {"to": "bob@ours.example"}, "no forwarding"),
            (ANN, {"to": "bob@backup.example"}, "no forwarding"),
            (ANN, {"path": ()}, "no forwarding"),
            (ANN, {"path": ("canonical:b.ob@y.example",)}, "no forwarding"),
            (ANN, {"path": ("canonical:in.fo@ours.example", *PATH)}, "SRS (strict.example has SPF -all)"),
            (ANN, {"path": ("canonical:te.am@ours.example", "list:team@ours.example")}, "no forwarding"),
            (ANN, {"rights": frozenset({Right.OURSELVES})}, "no forwarding"),
            (ANN, {"service": "local"}, "no forwarding"),
            (ANN, {"service": "(list)"}, "no forwarding"),
            (
                Address("x", "bank.example"),
                {},
                "From changed, SRS (bank.example has DMARC p=reject and no signature of its own)",
            ),
            (Address("x", "bank.example"), {"signed": "bank.example"}, "SRS (bank.example has SPF -all)"),
            (Address("x", "bank.example"), {"signed": "mail.bank.example"}, "SRS (bank.example has SPF -all)"),
            (
                Address("x", "bank.example"),
                {"signed": "sender.example"},
                "From changed, SRS (bank.example has DMARC p=reject and no signature of its own)",
            ),
            (
                Address("x", "nospf.example"),
                {},
                "From changed, SRS (nospf.example has DMARC p=quarantine and no signature of its own)",
            ),
            (ANN, {"author": "x@bank.example, y@ours.example"}, "SRS (strict.example has SPF -all)"),
            (ANN, {"author": "x@ours.example"}, "SRS (strict.example has SPF -all)"),
            (
                ours,
                {"author": "x@bank.example"},
                "From changed (bank.example has DMARC p=reject and no signature of its own)",
            ),
        ):
            self.assertEqual(self.said(sender, **more), said, (sender, more))

    def test_what_goes_on(self) -> None:
        self.assertEqual(
            self.decide()[:2],  # type: ignore[index]
            (SRS.forward(ANN, day_of(ARRIVED)), None),
        )
        rewrite = self.decide(Address("x", "bank.example"))
        assert rewrite is not None
        assert rewrite.reverse_path is not None
        self.assertEqual(SRS.reverse(rewrite.reverse_path, day_of(ARRIVED)), Address("x", "bank.example"))
        self.assertEqual(rewrite.author, INFO)
        postmaster = self.decide(Address("x", "bank.example"), original=Address("postmaster", ""))
        assert postmaster is not None
        self.assertEqual(postmaster.author, Address("postmaster", "srs.ours.example"))

    def test_the_day_is_that_of_the_arrival_or_of_its_release(self) -> None:
        later = ARRIVED + 10 * 86_400_000
        rewrite = self.decide(hold_until=later)
        assert rewrite is not None
        assert rewrite.reverse_path is not None
        self.assertEqual(SRS.forward(ANN, day_of(later)), rewrite.reverse_path)

    def test_a_rule_comes_before_what_is_needed(self) -> None:
        rules = (
            rule("bank", Rewriting.NONE, "*", "bank.example"),
            rule("friend", Rewriting.FROM, "friend.example"),
            rule("known", Rewriting.NONE, "*", "*", Proof.LOGIN, Proof.NETWORK),
            rule("signed", Rewriting.SRS, "*", "none.example", Proof.SIGNED),
            rule("unsigned", Rewriting.AUTO, "*", "none.example", Proof.UNSIGNED),
            rule("rest", Rewriting.SRS),
        )
        none = Address("x", "none.example")
        for sender, more, said in (
            (Address("x", "bank.example"), {}, "unchanged (rule bank)"),
            (ANN, {"to": "x@friend.example"}, "From changed, SRS (rule friend)"),
            (Address("x", "ours.example"), {"to": "x@friend.example"}, "From changed (rule friend)"),
            (ANN, {"rights": frozenset({Right.AUTHENTICATED})}, "unchanged (rule known)"),
            (ANN, {"rights": frozenset({Right.NETWORK})}, "unchanged (rule known)"),
            (none, {"signed": "none.example"}, "SRS (rule signed)"),
            (none, {}, "unchanged (none.example has no SPF)"),
            (ANN, {}, "SRS (rule rest)"),
            (Address("x", "ours.example"), {}, "unchanged (ours.example is ours)"),
            (None, {"to": "x@friend.example"}, "unchanged (the null sender is never changed)"),
        ):
            self.assertEqual(self.said(sender, rules=rules, **more), said, (sender, more))

    def test_dns_is_asked_only_where_something_hangs_on_it(self) -> None:
        self.said(rules=(rule("all", Rewriting.SRS),), header=TemporaryFailure)
        self.assertEqual(self.dns.questions, {})
        self.said(None)
        self.assertEqual(self.dns.questions, {})

    def test_what_would_be_too_long_stays(self) -> None:
        short = Srs(domain="srs.ours.example", keys=(b"tops3cr3t",), longest=30)
        why = "strict.example has SPF -all, but with SRS its local part would have 31 octets"
        self.assertEqual(self.said(srs=short), f"unchanged ({why})")
        rules = (rule("all", Rewriting.FROM),)
        why = "rule all, but with SRS its local part would have 31 octets"
        self.assertEqual(self.said(srs=short, rules=rules), f"unchanged ({why})")

    def test_a_header_that_cannot_be_read_or_has_no_end(self) -> None:
        self.assertRaises(TemporaryFailure, self.decide, header=CannotKnow("disk"))
        said = self.said(Address("x", "bank.example"), header=b"From: x@bank.example\r\n")
        self.assertEqual(
            said, "SRS (bank.example has DMARC p=reject and no signature of its own, but the header has no end)"
        )
