"""Return paths of ours that lead back to senders.

The known answers are of the programs that everybody uses, with their source beside them; nothing here was computed by
the code under test.
"""

from __future__ import annotations

from datetime import date
from typing import Final

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import MAX_LOCAL, Address
from mta.routing.srs import EXPIRED, FORGED, Srs, SrsError, TooLong, day_of, is_srs

KEY: Final = b"tops3cr3t"
#: tests/unit/test_srs2.c of PostSRSd 2 (github.com/roehling/postsrsd): faketime 1577836860, key "tops3cr3t".
NEW_YEAR: Final = day_of(1_577_836_860_000)
POSTSRSD_TEST: Final = ("test@otherdomain.com", "SRS0=vmyz=2W=otherdomain.com=test")
#: PostSRSd 1.10-2+b1 of Debian 12, ``postsrsd -s<key> -dforward.example``, asked over its socket on 24 November 2026;
#: Mail::SRS 0.31 (libmail-srs-perl 0.31-9) gave the same on the same day.
AUTUMN: Final = date(2026, 11, 24).toordinal() - date(1970, 1, 1).toordinal()
ASKED: Final = (
    ("ann@a.example", "SRS0=sUeW=JN=a.example=ann"),
    ("Ann.Lee+x=y@sub.a.example", "SRS0=oy5Q=JN=sub.a.example=Ann.Lee+x=y"),
    ("SRS0=HHHH=TT=orig.example=ann@other.example", "SRS1=Dwxi=other.example==HHHH=TT=orig.example=ann"),
    (
        "SRS1=HHHH=orig.example==HHHH=TT=first.example=ann@other.example",
        "SRS1=k/0O=orig.example==HHHH=TT=first.example=ann",
    ),
    ("SRS0+HHHH=TT=orig.example=ann@other.example", "SRS1=5nWN=other.example=+HHHH=TT=orig.example=ann"),
)
#: What PostSRSd 1.10 made of these again; of the fourth, the sender of the first forwarder.
BACK: Final = (
    *(sender for sender, _ in ASKED[:3]),
    "SRS0=HHHH=TT=first.example=ann@orig.example",
    ASKED[4][0],
)
#: Mail::SRS 0.31 with HashLength => 8.
EIGHT: Final = ("ann@a.example", "SRS0=sUeW06UI=JN=a.example=ann")

LOCALS = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x2FFF, blacklist_characters="\x7f"), min_size=1, max_size=40
)
DOMAINS = st.from_regex(r"[a-z0-9]{1,10}(\.[a-z0-9]{1,10}){1,3}", fullmatch=True)
DAYS = st.integers(0, 100_000)


def srs(*keys: bytes, **more: object) -> Srs:
    return Srs(domain="forward.example", keys=keys or (KEY,), **more)  # type: ignore[arg-type]


def at(local: str) -> Address:
    return Address(local, "forward.example")


class KnownAnswers(SynchronousTestCase):
    def test_as_postsrsd_and_mail_srs_have_them(self) -> None:
        sender, local = POSTSRSD_TEST
        self.assertEqual(srs().forward(Address.parse(sender), NEW_YEAR), at(local))
        self.assertEqual(str(srs().reverse(at(local), NEW_YEAR)), sender)
        for (sender, local), back in zip(ASKED, BACK, strict=True):
            self.assertEqual(srs().forward(Address.parse(sender), AUTUMN), at(local))
            self.assertEqual(str(srs().reverse(at(local), AUTUMN)), back)
        sender, local = EIGHT
        self.assertEqual(srs(hash_length=8).forward(Address.parse(sender), AUTUMN), at(local))

    def test_case_that_a_host_changed_does_no_harm(self) -> None:
        for local, back in (
            ("srs0=SUEW=jn=A.EXAMPLE=ann", "ann@a.example"),
            ("SRS0=OY5Q=JN=SUB.A.EXAMPLE=ANN.LEE+X=Y", "ANN.LEE+X=Y@sub.a.example"),
            ("srs1=dwxi=other.example==hhhh=tt=orig.example=ann", "SRS0=hhhh=tt=orig.example=ann@other.example"),
        ):
            self.assertEqual(str(srs().reverse(at(local), AUTUMN)), back)

    def test_a_longer_signature_than_asked_for_has_to_be_right_too(self) -> None:
        self.assertEqual(str(srs().reverse(at(EIGHT[1]), AUTUMN)), EIGHT[0])
        self.assertRaises(SrsError, srs().reverse, at(EIGHT[1].replace("06UI", "06UJ")), AUTUMN)
        self.assertRaises(SrsError, srs(hash_length=8).reverse, at(ASKED[0][1]), AUTUMN)


class Refused(SynchronousTestCase):
    def refused(self, local: str, day: int = AUTUMN) -> str:
        error = self.assertRaises(SrsError, srs().reverse, at(local), day)
        return str(error.reply)

    def test_what_was_not_made_here(self) -> None:
        for local in (
            "ann",
            "SRS0",
            "SRS0=",
            "SRS0=sUeW",
            "SRS0=sUeW=JN",
            "SRS0=sUeW=JN=a.example",
            "SRS0=sUeW=JN=a.example=",
            "SRS0==JN=a.example=ann",
            "SRS0=sUe=JN=a.example=ann",
            "SRS0=sUeV=JN=a.example=ann",
            "SRS0=sUeW=JM=a.example=ann",
            "SRS0=sUeW=JN=b.example=ann",
            "SRS0=sUeW=JN=a.example=bob",
            "SRS1=Dwxi=other.example=",
            "SRS1=Dwxi=other.example==HHHH=TT=orig.example=bob",
            "SRS1=sUeW=JN=a.example=ann",
            "SRS0=\xe9\xe9\xe9\xe9=JN=a.example=ann",
        ):
            self.assertEqual(self.refused(local), str(FORGED), local)

    def test_age(self) -> None:
        sender, local = ASKED[0]
        for days in (-1, 0, 21):
            self.assertEqual(str(srs().reverse(at(local), AUTUMN + days)), sender)
        for days in (-2, 22, 1000):
            self.assertEqual(self.refused(local, AUTUMN + days), str(EXPIRED), days)

    def test_what_would_be_too_long(self) -> None:
        """RFC 5321 4.5.3.1.3."""
        long = Address("a" * 110, "a.example")
        self.assertRaises(TooLong, srs().forward, long, AUTUMN)
        self.assertEqual(srs(longest=240).reverse(srs(longest=240).forward(long, AUTUMN), AUTUMN), long)
        self.assertRaises(TooLong, srs(longest=240).forward, Address("a" * 64, ".".join(["b" * 60] * 3)), AUTUMN)


class Properties(SynchronousTestCase):
    @given(LOCALS, DOMAINS, DAYS, st.integers(0, 21), st.sampled_from("=-+"), st.integers(4, 20))
    def test_each_leads_back_while_it_is_good(
        self, local: str, domain: str, day: int, age: int, separator: str, length: int
    ) -> None:
        sender = Address(local, domain)
        scheme = srs(longest=MAX_LOCAL, separator=separator, hash_length=length)
        try:
            made = scheme.forward(sender, day)
        except TooLong:
            return
        self.assertTrue(is_srs(made.local))
        self.assertEqual(Address.parse(str(made), utf8=True), made)
        back = scheme.reverse(made, day + age)
        if is_srs(local) and made.local.startswith("SRS1"):
            self.assertTrue(is_srs(back.local))
        else:
            self.assertEqual(back, sender)

    @given(LOCALS, DOMAINS, DAYS)
    def test_two_hops_are_the_most(self, local: str, domain: str, day: int) -> None:
        first = Srs(domain="one.example", keys=(b"first key",), longest=MAX_LOCAL)
        others = [
            Srs(domain=f"{name}.example", keys=(name.encode() * 4,), longest=MAX_LOCAL) for name in ("two", "six")
        ]
        sender = Address(local, domain)
        try:
            path = first.forward(sender, day)
            for other in others:
                path = other.forward(path, day)
        except TooLong:
            return
        self.assertEqual(path.domain, "six.example")
        if not is_srs(local):
            self.assertEqual(first.reverse(others[1].reverse(path, day), day), sender)

    @given(LOCALS, DOMAINS, DAYS)
    def test_keys_are_changed_without_losing_mail(self, local: str, domain: str, day: int) -> None:
        sender = Address(local, domain)
        try:
            made = srs(b"the old key", longest=MAX_LOCAL).forward(sender, day)
        except TooLong:
            return
        both = srs(b"the new key", b"the old key", longest=MAX_LOCAL)
        self.assertNotEqual(both.forward(sender, day), made)
        both.reverse(made, day)
        self.assertRaises(SrsError, srs(b"the new key").reverse, made, day)

    @given(st.text(max_size=80), DAYS)
    def test_nobody_makes_one_without_the_key(self, text: str, day: int) -> None:
        self.assertRaises(SrsError, srs(hash_length=27).reverse, at(text), day)
        self.assertRaises(SrsError, srs(hash_length=27).reverse, at(f"SRS0={text}"), day)
        self.assertRaises(SrsError, srs(hash_length=27).reverse, at(f"SRS1={text}"), day)

    def test_the_keys_are_not_shown(self) -> None:
        self.assertNotIn("tops3cr3t", repr(srs()))
