"""``[queue]`` and ``[[retry]]`` as the rules that the queue goes by."""

from __future__ import annotations

from config_cases import MINIMAL, Folder
from twisted.trial.unittest import SynchronousTestCase

from mta.config.retry_rules import retry_rules
from mta.queue.retry import BY_CLASS, USUAL, RetryRules
from mta.queue.trouble import Trouble


class Retry(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Folder(self)

    def rules(self, more: str = "") -> RetryRules:
        return retry_rules(self.folder.load(MINIMAL + more))

    def test_by_class_as_it_comes(self) -> None:
        rules = self.rules()
        for trouble in Trouble:
            self.assertEqual(rules.rule(trouble, "b.example").after, BY_CLASS.get(trouble, USUAL))
        self.assertEqual(rules.usual.warn_after, (4 * 3600.0,))

    def test_times_of_ones_own_are_for_every_class(self) -> None:
        rules = self.rules('[queue]\nretry = ["2m", "4m"]\nwarn_after = []\n')
        for trouble in Trouble:
            rule = rules.rule(trouble, "b.example")
            self.assertEqual((rule.after, rule.warn_after, rule.name), ((120.0, 240.0), (), "queue.retry"))

    def test_cases_in_order(self) -> None:
        rules = self.rules(
            '[[retry]]\non = ["over-quota"]\nto = "*.B.example"\nexpire_after = "1d"\n'
            '[[retry]]\non = ["over-quota", "dns"]\nafter = ["3h"]\nwarn_after = ["1h", "2d"]\n'
        )
        first, second = rules.rule("over-quota", "x.b.example"), rules.rule("over-quota", "b.example")
        self.assertEqual(
            (first.name, first.after, first.expire_after), ("retry[0]", BY_CLASS[Trouble.OVER_QUOTA], 86400)
        )
        self.assertEqual((second.name, second.after, second.warn_after), ("retry[1]", (10800.0,), (3600.0, 172800.0)))

    def test_mistakes(self) -> None:
        for text, said in (
            ('[[retry]]\non = ["grey"]\n', "retry[0].on[0]"),
            ("[[retry]]\nafter = []\n", "retry[0].after: is empty"),
            ('[queue]\nwarn_after = ["2d", "4h"]\n', 'queue.warn_after: is not in order; write such as ["4h", "2d"]'),
            ("[queue]\npoison_tries = 0\n", "queue.poison_tries"),
        ):
            (problem,) = self.folder.problems(MINIMAL + text)
            self.assertIn(said, problem)
