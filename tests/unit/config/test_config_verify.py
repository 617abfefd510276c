"""``[verify]`` and what domains and lists say of VRFY and EXPN."""

from __future__ import annotations

from config_cases import MINIMAL, Folder, mapping, problems_of
from twisted.trial.unittest import SynchronousTestCase

from mta.config.rules import routing_rules, sources
from mta.config.verify_options import disclosed
from mta.envelope import Right
from mta.routing.disclosure import may


class Options(SynchronousTestCase):
    def test_defaults(self) -> None:
        # Nothing to strangers; everything to the authenticated (RFC 5321 7.3).
        configuration = Folder(self).load()
        rules = disclosed(configuration.verify, routing_rules(configuration).domains)
        self.assertEqual((rules.vrfy, rules.expn, rules.expn_widest), ("networks", "networks", "networks"))
        for word in (rules.vrfy, rules.expn):
            self.assertFalse(may(word, frozenset()))
            self.assertTrue(may(word, frozenset({Right.AUTHENTICATED})))

    def test_what_domains_say(self) -> None:
        folder = Folder(self)
        folder.write("names", "ann: Ann Lee\n")
        text = MINIMAL.replace(
            'deliver = "local"\n', 'deliver = "local"\nnames = "file:names"\nvrfy = "anyone"\nexpn = "nobody"\n'
        )
        configuration = folder.load(text + '[verify]\nvrfy = "nobody"\nexpn = "authenticated"\nmembers = 7\n')
        found = routing_rules(configuration)
        rules = disclosed(configuration.verify, found.domains)
        self.assertEqual(
            (rules.vrfy_of("site.com"), rules.vrfy_of("x.example"), rules.members), ("anyone", "nobody", 7)
        )
        self.assertEqual(rules.expn_widest, "authenticated")
        self.assertEqual(sources(found), {f"file:{folder.path}/names"})

    def test_mistakes(self) -> None:
        (problem,) = problems_of({**mapping(), "verify": {"vrfy": "everybody"}})
        self.assertIn("verify.vrfy", problem)
        self.assertIn('"nobody" or "authenticated" or "networks" or "anyone"', problem)
        (problem,) = problems_of({**mapping(), "verify": {"per_hour": 0}})
        self.assertIn("verify.per_hour", problem)

    def test_names_of_another_name_of_a_domain(self) -> None:
        folder = Folder(self)
        folder.write("names", "ann: Ann Lee\n")
        (problem,) = folder.problems(MINIMAL + '[domains."b.com"]\nalias_of = "site.com"\nnames = "file:names"\n')
        self.assertIn("names", problem)
