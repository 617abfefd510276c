"""From ``[domains.X]`` to what routing goes by."""

from __future__ import annotations

from config_cases import MINIMAL, Folder
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.config.rules import routing_rules, sources
from mta.routing.aliases import Allowed
from mta.routing.rules import RoutingRules


class Domains(SynchronousTestCase):
    def rules(self, *lines: str, more: str = "") -> RoutingRules:
        self.folder = Folder(self)
        for name in ("users", "aliases", "moved", "services", "quota"):
            self.folder.write(name, "postmaster\n" if name == "users" else "")
        text = MINIMAL.replace('deliver = "local"', "\n".join(('deliver = "local"', *lines))) + more
        return routing_rules(self.folder.load(text))

    def test_every_key_arrives(self) -> None:
        rules = self.rules(
            'mailboxes = "file:users"',
            'aliases = "table:programs"',
            'moved = "file:moved"',
            'services = "file:services"',
            'separators = "-+"',
            'catch_all = "x@far.example"',
            'dot_forward = "/home/{local_part}/.forward"',
            'quota = "file:quota"',
            'over_quota = "reject"',
            more='[domains."b.example"]\nalias_of = "Site.COM"\n[domains."c.example"]\nnull = true\n'
            '[tables.programs]\ntype = "file"\npath = "aliases"\ncommands = true\n',
        )
        ours, folder = rules.domains["site.com"], self.folder.path
        self.assertEqual(
            (ours.moved, ours.services, ours.separators, ours.catch_all, ours.dot_forward),
            (
                f"file:{folder}/moved",
                f"file:{folder}/services",
                "-+",
                Address("x", "far.example"),
                "/home/{local_part}/.forward",
            ),
        )
        self.assertEqual((ours.quota, ours.over_quota), (f"file:{folder}/quota", "reject"))
        self.assertEqual(rules.domains["b.example"].alias_of, "site.com")
        self.assertTrue(rules.domains["c.example"].null)
        self.assertEqual(rules.allowed, {"table:programs": Allowed(commands=True, folder=folder)})
        named = {f"file:{folder}/{name}" for name in ("users", "moved", "services", "quota")}
        self.assertEqual(sources(rules), {"table:programs", *named})

    def test_what_is_not_written(self) -> None:
        rules = self.rules('aliases = "file:aliases"')
        self.assertEqual(rules.domains["site.com"].separators, "+")
        self.assertEqual(rules.domains["site.com"].dot_forward, "")
        self.assertEqual(rules.allowed, {f"file:{self.folder.path}/aliases": Allowed(folder=self.folder.path)})

    def test_a_file_of_a_home_names_its_user(self) -> None:
        for value in ("/etc/forward", "/home/{user}/.forward", "/h/{local_part}/{local_part}"):
            text = MINIMAL.replace('deliver = "local"', f'deliver = "local"\ndot_forward = "{value}"')
            (problem,) = Folder(self).problems(text)
            self.assertIn('does not name the user; write such as "/home/{local_part}/.forward"', problem)


class CallAhead(SynchronousTestCase):
    def problems(self, more: str) -> list[str]:
        return Folder(self).problems(MINIMAL + more)

    def test_it_arrives(self) -> None:
        found = Folder(self).load(
            MINIMAL + '[domains."c.example"]\nrelay = true\ncall_ahead = true\n[call_ahead]\nno = "5m"\n'
        )
        self.assertTrue(routing_rules(found).domains["c.example"].call_ahead)
        self.assertEqual((found.call_ahead.no, found.call_ahead.sender), (300.0, None))

    def test_for_relayed_domains_and_services_that_can_ask(self) -> None:
        (found,) = self.problems('[domains."c.example"]\ndeliver = "local"\ncall_ahead = true\n')
        self.assertIn('domains."c.example".call_ahead: is for domains with relay = true', found)
        self.assertIn("null", self.problems('[domains."c.example"]\nnull = true\ncall_ahead = true\n')[0])
        domain = '[domains."c.example"]\nrelay = true\ncall_ahead = true\n'
        self.assertEqual(self.problems(domain), [])
        (found,) = self.problems(domain + '[[route]]\nname = "c"\nto = ["*.example"]\nvia = "local"\n')
        self.assertIn("mail for c.example goes by [delivery.local], which cannot ask for addresses", found)
