"""What --assume may say, and which assumption holds where."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Destination
from mta.simulate.assume import AssumptionError, Assumptions, State, parse_state


class Texts(SynchronousTestCase):
    def test_each_state_is_written_as_it_is_read(self) -> None:
        for text in (
            "last",
            "up",
            "down",
            "down:6h",
            "refusing:550 5.1.1 No such user",
            "refusing:451",
            "greylisting:10m",
            "slow:1.5s",
            "limited:60",
        ):
            self.assertEqual(str(parse_state(text)), text)
        self.assertEqual(parse_state("greylisting:1h30m").seconds, 5400)

    def test_what_is_wrong_is_told_with_what_to_write(self) -> None:
        for text, word in (
            ("*=odd", "known are: last, up"),
            ("*", "partner.example=down"),
            ("=up", "partner.example=down"),
            ("*=up:1h", 'write "up" alone'),
            ("*=slow", "slow:10m"),
            ("*=slow:fast", "slow:10m"),
            ("*=down:5", "down:10m"),
            ("*=limited:0", "limited:60"),
            ("*=limited:\N{ARABIC-INDIC DIGIT FIVE}", "limited:60"),
            ("*=limited:" + "9" * 5000, "limited:60"),
            ("*=refusing", "refusing:450"),
            ("*=refusing:250 2.0.0 Ok", "refusing:450"),
        ):
            with self.assertRaises(AssumptionError) as raised:
                Assumptions([text])
            self.assertIn(word, str(raised.exception), text)


class Matching(SynchronousTestCase):
    def state(self, place: str, *texts: str) -> State:
        service, _, hop = place.partition(":")
        return Assumptions(texts).of(Destination(service, hop)).state

    def test_the_most_exact_holds_whatever_the_order(self) -> None:
        texts = ["*=up", "internet=slow:1s", "*.example=down", "*.b.example=last", "A.b.example=refusing:450"]
        for order in (texts, texts[::-1]):
            self.assertIs(self.state("internet:a.b.example", *order), State.REFUSING)
            self.assertIs(self.state("internet:c.b.example", *order), State.LAST)
            self.assertIs(self.state("internet:b.example", *order), State.DOWN)
            self.assertIs(self.state("internet:c.test", *order), State.SLOW)
            self.assertIs(self.state("local", *order), State.UP)
            self.assertIs(self.state("partner:a.b.example", "partner:a.b.example=up", *order), State.UP)

    def test_of_equals_the_last(self) -> None:
        self.assertIs(self.state("internet:a.example", "a.example=down", "a.example=up"), State.UP)

    def test_where_nothing_is_said_it_is_as_last(self) -> None:
        self.assertIs(self.state("internet:a.example", "b.example=down"), State.LAST)
