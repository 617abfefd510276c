"""``[policy.X]``, the lists that name policies, and what is made of them."""

from __future__ import annotations

from typing import Any

from config_cases import MINIMAL, Folder
from delivery_contract import services
from twisted.trial.unittest import SynchronousTestCase

from mta.config.fingerprint import changed_needing_restart, keep_running
from mta.config.load import Configuration
from mta.deciding import Deciding, deciding, policies_of
from mta.policy.engine import Stage

PLUGIN = '''
from mta.plugin import Options, Services, Verdict, option, provider


class QuietOptions(Options):
    """Says nothing."""

    level: int = option(1, doc="How little.")


@provider("policy.sender", "quiet", QuietOptions)
class AtMail:
    def __init__(self, options: QuietOptions, services: Services) -> None:
        self.level = options.level

    def check(self, sender) -> Verdict:
        return Verdict.none()


@provider("policy.dispatch", "quiet", QuietOptions)
class AtDispatch(AtMail):
    pass


class LateOptions(Options):
    """Leaves it to others."""


@provider("policy.dispatch", "late", LateOptions)
class Late:
    def __init__(self, options: LateOptions, services: Services) -> None:
        pass
'''
USED = """
[plugins]
paths = ["plugins"]
[policy.senders]
type = "table"
table = "file:senders"
timeout = "2s"
on_error = "accept"
[policy.quiet]
type = "quiet"
level = 3
shadow = true
"""


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Folder(self)
        self.folder.write("senders", "bad@b.example: REJECT\n")
        self.folder.write("plugins/quiet.py", PLUGIN)

    def load(self, *more: str, listen: str = "") -> Configuration:
        base = MINIMAL.replace('endpoint = "tcp:2525"\n', f'endpoint = "tcp:2525"\n{listen}')
        return self.folder.load(base + USED + "".join(more))

    def problems(self, *more: str) -> str:
        return "\n".join(self.folder.problems(MINIMAL + USED + "".join(more)))


class Sections(Case):
    def test_what_is_read(self) -> None:
        found = self.load().policy
        common: Any = found["senders"].common
        self.assertEqual((common.timeout, common.on_error, common.shadow), (2.0, "accept", False))
        options: Any = found["quiet"].options
        self.assertEqual(options.level, 3)
        self.assertEqual(
            [cls.kind for cls in found["senders"].providers],
            ["policy.connect", "policy.greeting", "policy.recipient", "policy.sender"],
        )

    def test_what_it_shows(self) -> None:
        shown = dict(self.load().items())
        self.assertEqual(shown["policy.senders.timeout"], '"2s"')
        self.assertEqual(shown["policy.senders.table"], f'"file:{self.folder.path}/senders"')
        self.assertEqual(shown["policy.quiet.shadow"], "true")

    def test_mistakes_have_their_key_path(self) -> None:
        said = self.problems('[policy.x]\ntype = "table"\ntabel = 3\ntimeout = "1h"\non_error = "drop"\n')
        self.assertIn("policy.x.tabel: is not known", said)
        self.assertIn('policy.x.timeout: "1h" is not from "1ms" to "4m"', said)
        self.assertIn('policy.x.on_error: "drop" is not one of its values', said)
        self.assertIn("policy.x: table is missing", said)
        self.assertIn(
            'policy.y.type: there is no policy of type "tabel"', self.problems('[policy.y]\ntype = "tabel"\n')
        )

    def test_a_table_that_is_not_there(self) -> None:
        said = self.problems('[policy.x]\ntype = "table"\ntable = "table:nowhere"\n')
        self.assertIn("policy.x.table: there is no [tables.nowhere]", said)
        said = self.problems('[policy.x]\ntype = "table"\ntable = "file:nowhere"\n')
        self.assertIn("policy.x.table: nowhere cannot be read", said)

    def test_a_module_that_does_not_load_stops_who_names_it(self) -> None:
        self.folder.write("plugins/quiet.py", "import a_module_that_is_not_there")
        self.assertIn("a_module_that_is_not_there", self.problems())

    def test_stages_with_different_options(self) -> None:
        other = (
            'class OtherOptions(Options):\n    """Others."""\n\n\n@provider("policy.dispatch", "quiet", OtherOptions)'
        )
        self.folder.write(
            "plugins/quiet.py", PLUGIN.replace('@provider("policy.dispatch", "quiet", QuietOptions)', other)
        )
        self.assertIn("give all stages of one type the same options", self.problems())


class Lists(Case):
    def test_a_name_that_is_not_there(self) -> None:
        for key in ("service.mx", "service.lmtp", "service.submission", "queue"):
            said = self.problems(f'[{key}]\npolicy = ["quiet", "sender"]\n')
            self.assertIn(f"{key}.policy[1]: there is no [policy.sender]", said)

    def test_one_that_would_never_be_asked_there(self) -> None:
        said = self.problems('[queue]\npolicy = "senders"\n')
        self.assertIn('queue.policy[0]: "senders" is not asked when mail leaves', said)
        said = self.problems('[policy.late]\ntype = "late"\n[service.mx]\npolicy = "late"\n')
        self.assertIn('service.mx.policy[0]: "late" is not asked by sessions', said)

    def test_twice(self) -> None:
        said = self.problems('[service.mx]\npolicy = ["quiet", "quiet"]\n')
        self.assertIn("service.mx.policy: names one twice", said)

    def test_one_that_nobody_asks_is_a_warning(self) -> None:
        warnings = "\n".join(map(str, self.load('[service.mx]\npolicy = "quiet"\n').warnings))
        self.assertIn("policy.senders: nobody asks it", warnings)
        self.assertNotIn("policy.quiet", warnings)

    def test_a_listener_has_its_own_or_those_of_its_kind(self) -> None:
        kinds = '[service.mx]\npolicy = "senders"\n[service.lmtp]\npolicy = "quiet"\n'
        for listen, expected in (
            ("", ("senders",)),
            ('service = "lmtp"\n', ("quiet",)),
            ("policy = []\n", ()),
            ('policy = ["quiet", "senders"]\n', ("quiet", "senders")),
        ):
            configuration = self.load(kinds, listen=listen)
            self.assertEqual(policies_of(configuration, configuration.listen[0]), expected)


class Made(Case):
    def decide(self, *more: str) -> Deciding:
        return deciding(self.load(*more), services())

    def test_stages_and_their_order(self) -> None:
        decides = self.decide('[service.mx]\npolicy = ["senders", "quiet"]\n[queue]\npolicy = "quiet"\n')
        asked = decides.policies.for_sessions(("senders", "quiet"))
        assert asked is not None
        # The table is looked up by sender alone: at other stages it is not asked.
        self.assertEqual(asked.stages, {Stage.SENDER})
        self.assertEqual(asked.names(Stage.SENDER), ["senders", "quiet"])
        assert decides.dispatch is not None
        self.assertEqual(decides.dispatch.names(Stage.DISPATCH), ["quiet"])

    def test_nobody_is_none(self) -> None:
        decides = self.decide()
        self.assertIsNone(decides.policies.for_sessions(()))
        self.assertIsNone(decides.dispatch)

    def test_a_class_without_check_stops_the_start(self) -> None:
        with self.assertRaises(ValueError) as caught:
            self.decide('[policy.late]\ntype = "late"\n[queue]\npolicy = "late"\n')
        self.assertEqual(str(caught.exception), "policy.late: Late has no method check")

    def test_one_that_cannot_be_made_stops_the_start(self) -> None:
        self.folder.write("plugins/quiet.py", PLUGIN.replace("        pass\n", '        raise KeyError("boom")\n'))
        with self.assertRaises(ValueError) as caught:
            self.decide('[policy.late]\ntype = "late"\n[queue]\npolicy = "late"\n')
        self.assertEqual(str(caught.exception), "policy.late cannot be made: KeyError: 'boom'")

    def test_what_they_hold_is_let_go_of(self) -> None:
        closes = PLUGIN.replace(
            "    def check(self, sender)",
            '    def close(self) -> None:\n        raise OSError("oh")\n\n    def check(self, sender)',
        )
        self.folder.write("plugins/quiet.py", closes)
        self.decide('[service.mx]\npolicy = "quiet"\n').policies.close()
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 2, "one for each stage")


class Reload(Case):
    def test_a_listener_that_asks_others_needs_no_restart(self) -> None:
        old = self.load(listen='policy = "senders"\n')
        new = self.load(listen='policy = ["quiet"]\n')
        self.assertEqual(changed_needing_restart(old, new), ())
        self.assertEqual(keep_running(old, new).listen[0].policy, ("quiet",))

    def test_the_rest_of_a_listener_does(self) -> None:
        old = self.load(listen='policy = "senders"\n')
        new = self.load(listen='policy = "quiet"\ntls = "none"\n')
        self.assertEqual(changed_needing_restart(old, new), ("listen",))
        kept = keep_running(old, new).listen[0]
        self.assertEqual((kept.policy, kept.tls), (("quiet",), "starttls"))
