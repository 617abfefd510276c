"""What the log says of names that were tried: people type passwords where names belong."""

from __future__ import annotations

from test_book import Books


class NamesInTheLog(Books):
    def shown(self, name: str) -> str:
        self.events.clear()
        self.login(name, "wrong")
        return self.events[0]

    def test_a_name_that_some_account_has(self) -> None:
        self.assertIn("192.0.2.7 is not bob (PLAIN)", self.shown("bob"))

    def test_an_address_is_written_as_the_log_writes_addresses(self) -> None:
        self.assertIn("is not dave@example.org", self.shown("dave@example.org"))

    def test_what_else_may_be_a_password(self) -> None:
        for name in ("hunter2", "correct horse", "p@ss", "\u00e9t\u00e9"):
            told = self.shown(name)
            self.assertIn("is not anybody known", told)
            self.assertNotIn(name, told)
