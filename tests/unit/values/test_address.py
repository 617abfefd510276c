"""Addresses: what a sender may write, and which two are one."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import (
    Address,
    AddressError,
    host_literal,
    literal_address,
    normal_domain,
    normal_ip,
    show_path,
    unicode_text,
)


class Domains(SynchronousTestCase):
    def test_one_domain_in_many_spellings(self) -> None:
        # RFC 5321 2.3.5, RFC 5891 5
        for text in ("Example.ORG", "example.org.", "EXAMPLE.org"):
            self.assertEqual(normal_domain(text), "example.org")
        for text in ("bücher.example", "BÜCHER.example", "xn--bcher-kva.example", "bu\u0308cher.example"):
            self.assertEqual(normal_domain(text), "xn--bcher-kva.example")

    def test_literals(self) -> None:
        # RFC 5321 4.1.3
        self.assertEqual(normal_domain("[192.0.2.1]"), "[192.0.2.1]")
        self.assertEqual(normal_domain("[ipv6:2001:DB8:0::1]"), "[IPv6:2001:db8::1]")
        self.assertEqual(str(literal_address("[IPv6:2001:db8::1]")), "2001:db8::1")
        self.assertIsNone(literal_address("example.org"))
        self.assertEqual(host_literal("::1"), "[IPv6:::1]")

    def test_no_domains(self) -> None:
        # RFC 1035 2.3.4; RFC 5321 4.1.2
        for text in (
            "", ".", "a..b", "-a.example", "a-.example", "a b", "a\n.b", "[1.2.3]", "[1.2.3.4", "[IPv6:x]",
            "x" * 64 + ".example", ".".join(["x" * 50] * 6), "xn--zz--.example", "a/b.example", "ex\0ample",
        ):  # fmt: skip
            with self.assertRaises(AddressError, msg=repr(text)):
                normal_domain(text)

    def test_underscore_of_windows_hosts(self) -> None:
        self.assertEqual(normal_domain("MAIL_SRV.corp.example"), "mail_srv.corp.example")


class Mailboxes(SynchronousTestCase):
    def test_plain(self) -> None:
        self.assertEqual(Address.parse("Ann.Lee+x@Example.org"), Address("Ann.Lee+x", "example.org"))

    def test_local_part_of_strangers_is_never_changed(self) -> None:
        # RFC 5321 2.4
        self.assertEqual(str(Address.parse("JoE@B.example")), "JoE@b.example")

    def test_longer_local_parts_than_everybody_takes(self) -> None:
        # RFC 5321 4.5.3.1.1: 64 octets are what all must take; senders made by VERP and SRS have more
        for size in (64, 65, 256):
            self.assertEqual(len(Address.parse("x" * size + "@b.example").local), size)

    def test_quoting_is_spelling(self) -> None:
        # RFC 5321 4.1.2: the quoted and the plain form are one mailbox
        self.assertEqual(Address.parse('"ann"@b.example'), Address.parse("ann@b.example"))
        self.assertEqual(Address.parse(r'"a\nn"@b.example'), Address.parse("ann@b.example"))
        self.assertEqual(str(Address.parse('"a b"@c.example')), '"a b"@c.example')
        self.assertEqual(Address.parse('"a@b"@ours.example').local, "a@b")
        self.assertEqual(str(Address.parse(r'"a\"\\"@c.example')), r'"a\"\\"@c.example')

    def test_no_mailboxes(self) -> None:
        for text in (
            "", "a", "@b", "a@", "a b@c", ".a@b", "a.@b", "a..b@c", '"a@b', "a\r\nb@c", '"a\r\nb"@c', "a\0@b",
            '"\x7f"@b', "a@b@c d", "é@b.example", "x" * 257 + "@b", '""@b', "<a@b>",
        ):  # fmt: skip
            with self.assertRaises(AddressError, msg=repr(text)):
                Address.parse(text)

    def test_outside_ascii_only_where_asked(self) -> None:
        # RFC 6531 3.3
        self.assertEqual(Address.parse("é@bücher.example", utf8=True), Address("é", "xn--bcher-kva.example"))

    def test_postmaster(self) -> None:
        # RFC 5321 4.5.1
        self.assertTrue(Address.parse("PostMaster@b.example").is_postmaster)
        self.assertEqual(str(Address("Postmaster", "")), "Postmaster")

    def test_null_path_is_shown(self) -> None:
        self.assertEqual(show_path(None), "<>")

    @given(st.text(max_size=40), st.sampled_from(["example.org", "[192.0.2.1]", "xn--bcher-kva.example"]))
    def test_what_is_read_goes_out_and_comes_back_the_same(self, local: str, domain: str) -> None:
        for text in (f"{local}@{domain}", f'"{local}"@{domain}'):
            try:
                address = Address.parse(text, utf8=True)
            except AddressError:
                continue
            self.assertEqual(Address.parse(str(address), utf8=True), address)
            self.assertFalse(set(str(address)) & set("\r\n\0"))

    @given(st.text(max_size=60))
    def test_any_text_is_an_address_or_an_address_error(self, text: str) -> None:
        try:
            Address.parse(text, utf8=True)
        except AddressError as error:
            self.assertTrue(str(error))

    def test_for_people(self) -> None:
        # RFC 6531 3.7; RFC 5890 2.3.2.1: U-labels, but for what is none
        for domain, shown in (
            ("xn--bcher-kva.a_b.example", "b\u00fccher.a_b.example"),
            ("xn--zz-.xn--bcher-kva", "xn--zz-.b\u00fccher"),
            ("example.org", "example.org"),
            ("[192.0.2.1]", "[192.0.2.1]"),
        ):
            self.assertEqual(unicode_text(Address("d\u00f6rte", domain)), f"d\u00f6rte@{shown}")
        self.assertEqual(unicode_text(Address("a b", "xn--bcher-kva")), '"a b"@b\u00fccher')
        self.assertEqual(unicode_text(Address("postmaster", "")), "postmaster")


class Peers(SynchronousTestCase):
    def test_mapped_peer_is_an_ipv4_peer(self) -> None:
        # RFC 4291 2.5.5.2
        self.assertEqual(normal_ip("::ffff:192.0.2.7"), "192.0.2.7")
        self.assertEqual(normal_ip("::FFFF:c000:0207"), "192.0.2.7")

    def test_others_stay(self) -> None:
        self.assertEqual(normal_ip("192.0.2.7"), "192.0.2.7")
        self.assertEqual(normal_ip("2001:DB8::1"), "2001:db8::1")
        self.assertEqual(normal_ip("fe80::1%eth0"), "fe80::1")
        self.assertEqual(normal_ip(""), "")
        self.assertEqual(normal_ip("what:ever"), "what:ever")
