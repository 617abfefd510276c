"""Names and passwords in the form in which they are compared."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.accounts.names import MOST_PASSWORD, account_name, name_of, password


class Names(SynchronousTestCase):
    def test_one_account_has_one_name(self) -> None:
        for said in ("Bob@M\u00fcnchen.Example", b"bob@xn--mnchen-3ya.example", "\uff22ob@m\u00fcnchen.example"):
            self.assertEqual(account_name(said), "bob@xn--mnchen-3ya.example")
        self.assertEqual(account_name("Bob"), "bob")

    def test_what_no_account_is_called(self) -> None:
        for said in (b"", b"\xff", b"bob\0", b"bob\r\n", b"a b", b"@example.org", b"x" * 2000, "\ud800", b"../\n"):
            self.assertRaises(ValueError, account_name, said)
            self.assertEqual(name_of(said), "")

    def test_what_looks_dangerous_is_a_name_as_any_other(self) -> None:
        for said in ("../../etc/passwd", "bob'--", "*)(uid=*", "$(id)", "-rf"):
            self.assertEqual(account_name(said), said)

    def test_passwords(self) -> None:
        self.assertEqual(password(b"Geheim 1"), b"Geheim 1")
        self.assertEqual(password("\u00aa"), b"a")  # RFC 4013 3
        for wrong in (b"", b"\0", b"a\0b", b"\xff", b"x" * (MOST_PASSWORD + 1), "\u0627\u0031", "\x07"):
            self.assertRaises(ValueError, password, wrong)
