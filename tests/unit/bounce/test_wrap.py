"""Lines of reports, in scripts with and without spaces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.bounce.wrap import columns, wrap


class Wrap(SynchronousTestCase):
    def test_at_spaces(self) -> None:
        self.assertEqual(wrap("aa bb cc dd", 8, "> ", "  "), ["> aa bb", "  cc dd"])
        self.assertEqual(wrap("", 8), [])

    def test_a_long_word_stands_whole_in_a_line_of_its_own(self) -> None:
        self.assertEqual(wrap("to someone@example.org now", 8), ["to", "someone@example.org", "now"])

    def test_between_wide_characters_and_not_before_what_closes(self) -> None:
        self.assertEqual(columns("您a"), 3)
        self.assertEqual(wrap("没有这个邮箱。", 12), ["没有这个邮", "箱。"])
        self.assertEqual(wrap("邮件（TLS）加密", 8), ["邮件", "（TLS）", "加密"])

    def test_a_no_break_space_is_no_place_to_break(self) -> None:
        self.assertEqual(wrap("Ce qui suit\u00a0: rien", 12), ["Ce qui", "suit\u00a0: rien"])

    def test_accents_of_their_own_have_no_width(self) -> None:
        self.assertEqual(columns("e\u0301"), 1)

    @given(st.text("ab -，（您好\u0301", max_size=60), st.integers(6, 20))
    def test_nothing_is_lost_and_no_line_too_wide_that_could_be_parted(self, text: str, width: int) -> None:
        lines = wrap(text, width)
        self.assertEqual("".join("".join(lines).split(" ")), text.replace(" ", ""))
        for line in lines:
            self.assertTrue(columns(line) <= width or len(wrap(line, 1)) == 1, line)
