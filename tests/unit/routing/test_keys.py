"""How names are compared: keys of tables, patterns of domains, targets of aliases."""

from __future__ import annotations

import shlex
from unicodedata import normalize

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.envelope import Destination
from mta.routing.aliases import Allowed, Include, parse_targets
from mta.routing.keys import address_keys, fold, table_key
from mta.routing.patterns import DomainPatterns


class Keys(SynchronousTestCase):
    def test_one_mailbox_one_key(self) -> None:
        for one, other in (
            ("Bob@Example.ORG", "bob@example.org"),
            ('"bob"@example.org', "bob@example.org"),
            ("bob@example.org.", "bob@example.org"),
            ("bob@bücher.example", "bob@xn--bcher-kva.example"),
            ("Bob@XN--BCHER-KVA.example", "bob@BÜCHER.example"),
            ("jose\u0301", "JOSÉ"),
            ("straße@example.org", "STRASSE@example.org"),
            ('"a b"@example.org', '"A B"@example.org'),
        ):
            self.assertEqual(table_key(one), table_key(other))
        self.assertNotEqual(table_key("bob@example.org"), table_key("bob@example.com"))

    def test_what_is_no_address_is_only_folded(self) -> None:
        for text in ("Info", "a b@", "@Example.org", "x@-"):
            self.assertEqual(table_key(text), text.lower())

    def test_of_an_address(self) -> None:
        self.assertEqual(address_keys(Address("Bob", "example.org")), ("bob@example.org", "bob"))
        self.assertEqual(address_keys(Address("A b", "example.org")), ('"a b"@example.org', "a b"))

    def test_a_quoted_at_sign_never_meets_another_mailbox(self) -> None:
        self.assertEqual(address_keys(Address("a@b.example", "example.org")), ('"a@b.example"@example.org',))

    @given(st.text())
    def test_folding_is_idempotent_and_forgets_the_normal_form(self, text: str) -> None:
        self.assertEqual(fold(fold(text)), fold(text))
        self.assertEqual(fold(normalize("NFD", text)), fold(normalize("NFC", text)))

    @given(st.from_regex(r"[a-zA-Z0-9.+\-\"@ ü]{1,12}@[a-z]{1,5}\.[a-z]{2,3}", fullmatch=True))
    def test_a_key_is_its_own_key(self, text: str) -> None:
        self.assertEqual(table_key(table_key(text)), table_key(text))


class Patterns(SynchronousTestCase):
    def test_matching(self) -> None:
        for patterns, domain, matches in (
            (["partner.example"], "partner.example", True),
            (["partner.example"], "a.partner.example", False),
            (["*.partner.example"], "partner.example", False),
            (["*.partner.example"], "a.partner.example", True),
            (["*.partner.example"], "a.b.partner.example", True),
            (["*.partner.example"], "apartner.example", False),
            (["*"], "anything.example", True),
            (["*"], "[192.0.2.1]", True),
            (["*.example"], "[IPv6:::1]", False),
            (["[192.0.2.1]"], "[192.0.2.1]", True),
            (["Partner.Example.", "*.BÜCHER.example"], "partner.example", True),
            (["Partner.Example.", "*.BÜCHER.example"], "a.xn--bcher-kva.example", True),
            ([], "partner.example", False),
        ):
            self.assertEqual(DomainPatterns(patterns).match(domain), matches, (patterns, domain))

    def test_naming_says_more_than_everything(self) -> None:
        self.assertFalse(DomainPatterns(["*"]).names("a.example"))
        self.assertTrue(DomainPatterns(["*", "*.example"]).names("a.example"))

    def test_wrong_ones_say_what_is_right(self) -> None:
        for pattern, hint in (("a.*.example", "first label"), ("bob@a.example", "leave out"), ("a..b", "is like")):
            self.assertIn(hint, str(self.assertRaises(ValueError, DomainPatterns, [pattern])))


class Targets(SynchronousTestCase):
    def targets(self, text: str) -> list[str]:
        return [str(address) for address in parse_targets(text, "example.org")]

    def test_read(self) -> None:
        for text, targets in (
            ("bob", ["bob@example.org"]),
            ("bob, ann@far.example,bob,", ["bob@example.org", "ann@far.example"]),
            ("\\bob", ["bob@example.org"]),
            ('"x, y"@far.example, z', ['"x, y"@far.example', "z@example.org"]),
            ('"x\\"y"@far.example', ['"x\\"y"@far.example']),
            ("a@[IPv6:2001:db8::1], b", ["a@[IPv6:2001:db8::1]", "b@example.org"]),
            ("é@far.example", ["é@far.example"]),
        ):
            self.assertEqual(self.targets(text), targets)

    def test_refused_by_name(self) -> None:
        for text, hint in (
            ("|/bin/sh", "commands = true"),
            ('"|/bin/sh -c x"', "commands = true"),
            ("/dev/null", "commands = true"),
            (":include:/etc/list", "tables that are files"),
            (":error:no", ":include: alone"),
            ("", "no target"),
            (" , ", "no target"),
            ('"open', "not closed"),
            ("a@b@c", "not well formed"),
            ("a@..", "domain"),
        ):
            self.assertIn(hint, str(self.assertRaises(ValueError, self.targets, text)), text)


class Places(SynchronousTestCase):
    """Commands, files and lists of members, where a table may have them."""

    ALL = Allowed(commands=True, folder="/etc/mta")

    def targets(self, text: str) -> list[str]:
        return [str(target) for target in parse_targets(text, "example.org", self.ALL)]

    def test_commands_are_split_as_a_shell_would_and_given_to_none(self) -> None:
        for text, command in (
            ("|/usr/bin/prog", "/usr/bin/prog"),
            ('"|/usr/bin/prog -a, b"', "/usr/bin/prog -a, b"),
            ('|"/usr/bin/prog -a b"', "/usr/bin/prog -a b"),
            ("\"|/usr/bin/prog 'a b' $(id) ; x\"", "/usr/bin/prog 'a b' '$(id)' ';' x"),
        ):
            (found,) = parse_targets(text, "example.org", self.ALL)
            assert isinstance(found, Destination)
            self.assertEqual(found.service, "(command)")
            self.assertEqual(shlex.split(found.next_hop), shlex.split(command), text)

    def test_files_and_includes(self) -> None:
        self.assertEqual(
            parse_targets(
                '/var/mail/all, "/var/mail/a b/", :include:members, ":include:/srv/x"', "example.org", self.ALL
            ),
            (
                Destination("(file)", "/var/mail/all"),
                Destination("(file)", "/var/mail/a b/"),
                Include("/etc/mta/members"),
                Include("/srv/x"),
            ),
        )

    def test_addresses_that_look_alike(self) -> None:
        """X.400 gateways have such; a quoted local part is no command."""
        self.assertEqual(self.targets("/g=x/s=y@far.example"), ["/g=x/s=y@far.example"])
        self.assertEqual(self.targets('"|x"@far.example'), ["|x@far.example"])

    def test_wrong_ones(self) -> None:
        for text, hint in (
            ("|prog", "whole path"),
            ('"|/usr/bin/prog \'a"', "divided"),
            ("|", "whole path"),
            ("/var/../etc/passwd", '".."'),
            ("/" + "x" * 3000, "too long"),
            ("|/x \x01", "control"),
        ):
            self.assertIn(hint, str(self.assertRaises(ValueError, self.targets, text)), text)
