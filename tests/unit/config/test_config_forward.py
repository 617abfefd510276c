"""``[srs]`` and ``[[forward]]``: what is refused, and what the router and the queue go by."""

from __future__ import annotations

import os
import stat
from random import Random
from typing import Any

from config_cases import Folder, mapping, problems_of
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.config.forward_options import forwarding_of, with_srs
from mta.config.load import Configuration, from_mapping
from mta.config.rules import routing_rules
from mta.config.srs_keys import place, srs_keys
from mta.deciding import deciding
from mta.dns.fake import FakeResolver
from mta.plugin import Services
from mta.routing.forwarding import Proof, Rewriting


def changed(**more: Any) -> dict[str, Any]:
    return {**mapping(), **more}


class Wrong(SynchronousTestCase):
    def problem(self, **more: Any) -> str:
        (problem,) = problems_of(changed(**more))
        return problem

    def test_values(self) -> None:
        for key, value in (
            ("domain", "not a name"),
            ("domain", "[192.0.2.1]"),
            ("keys", ["short"]),
            ("max_age", "12h"),
            ("max_age", "36h"),
            ("max_age", "2000d"),
            ("hash_length", 3),
            ("hash_length", 28),
            ("separator", "_"),
            ("longest", 63),
            ("longest", 241),
        ):
            self.assertIn(f"srs.{key}", self.problem(srs={key: value}), value)

    def test_the_domain_has_to_have_addresses_here(self) -> None:
        for domain in ({"relay": True}, {"null": True}, {"alias_of": "site.com"}):
            domains = {**mapping()["domains"], "srs.site.com": domain}
            problem = self.problem(srs={"domain": "srs.site.com"}, domains=domains)
            self.assertIn('"srs.site.com" has no addresses of its own here', problem)

    def test_rules(self) -> None:
        srs = {"domain": "srs.site.com"}
        self.assertIn(
            'forward[0].rewrite: "srs" needs return paths of ours',
            self.problem(forward=[{"name": "a", "rewrite": "srs"}]),
        )
        two = [{"name": "a", "rewrite": "none"}, {"name": "a", "rewrite": "none"}]
        self.assertEqual(len(problems_of(changed(forward=two))), 2)
        self.assertIn("forward[0].rewrite", self.problem(srs=srs, forward=[{"name": "a", "rewrite": "always"}]))
        self.assertIn("forward[0]: rewrite is missing", self.problem(srs=srs, forward=[{"name": "a"}]))
        wrong = {"name": "a", "rewrite": "srs", "sender_auth": ["dkim"]}
        self.assertIn("forward[0].sender_auth", self.problem(srs=srs, forward=[wrong]))
        self.assertEqual(problems_of(changed(forward=[{"name": "a", "rewrite": "none"}])), [])


class Made(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Folder(self)

    def configuration(self, **more: Any) -> Configuration:
        return from_mapping(changed(**more), self.folder.path)

    def outside(self) -> Services:
        return Services(
            name="",
            hostname="",
            reactor=Clock(),
            now=lambda: 0,
            random=Random(1),
            resolver=FakeResolver(),
            in_thread=lambda work, *args: succeed(work(*args)),
            table=lambda name: None,  # type: ignore[arg-type, return-value]
            emit=lambda event, id: None,
        )

    def test_without_a_domain_there_is_none(self) -> None:
        made = deciding(self.configuration(), self.outside())
        self.assertIsNone(made.forwarding)
        self.assertIsNone(made.router.rules.srs)
        self.assertFalse(os.path.lexists(place(made.configuration.state)))

    def test_what_they_say(self) -> None:
        configuration = self.configuration(
            srs={
                "domain": "SRS.site.com",
                "keys": ["the new key", "the old key"],
                "max_age": "2w",
                "hash_length": 6,
                "separator": "+",
                "longest": 64,
                "bounces_only": False,
            },
            forward=[
                {"name": "bank", "sender": ["bank.com"], "rewrite": "from", "sender_auth": ["stranger", "unsigned"]},
                {"name": "rest", "to": ["*.friend.com"], "rewrite": "none"},
            ],
        )
        made = deciding(configuration, self.outside())
        assert made.forwarding is not None
        srs = made.forwarding.srs
        self.assertIs(srs, made.router.rules.srs)
        self.assertEqual((srs.domain, srs.keys), ("srs.site.com", (b"the new key", b"the old key")))
        self.assertEqual((srs.max_age, srs.hash_length, srs.separator, srs.longest), (14, 6, "+", 64))
        self.assertTrue(made.router.rules.srs_from_any)
        self.assertEqual(made.forwarding.ours, {"site.com", "srs.site.com"})
        self.assertEqual(made.forwarding.final, {"local"})
        bank, rest = made.forwarding.rules
        self.assertEqual((bank.name, bank.rewriting), ("bank", Rewriting.FROM))
        self.assertEqual(bank.proofs, {Proof.STRANGER, Proof.UNSIGNED})
        self.assertTrue(bank.to.match("any.example"))
        self.assertFalse(bank.sender.match("any.example"))
        self.assertFalse(rest.to.match("friend.com"))
        self.assertNotIn("the new key", "\n".join(f"{key} {value}" for key, value in configuration.items()))

    def test_a_domain_that_is_there_stays_as_it_is(self) -> None:
        configuration = self.configuration(srs={"domain": "site.com", "keys": ["the key is"]})
        rules = with_srs(routing_rules(configuration), configuration.srs, ())
        self.assertEqual(rules.domains, routing_rules(configuration).domains)
        self.assertIsNotNone(forwarding_of(configuration, rules))


class Keys(SynchronousTestCase):
    def setUp(self) -> None:
        self.state = os.path.join(Folder(self).path, "state")

    def write(self, text: str, mode: int = 0o600) -> None:
        os.makedirs(self.state, exist_ok=True)
        with open(place(self.state), "w") as file:
            file.write(text)
        os.chmod(place(self.state), mode)

    def test_it_is_made_once(self) -> None:
        keys = srs_keys(self.state, make=True)
        self.assertEqual(stat.S_IMODE(os.stat(place(self.state)).st_mode), 0o600)
        self.assertEqual(srs_keys(self.state, make=True), keys)
        self.assertEqual(srs_keys(self.state, make=False), keys)
        self.assertEqual(os.listdir(self.state), ["srs.key"])
        ((key,),) = (keys,)
        self.assertGreaterEqual(len(key), 32)

    def test_who_only_looks_makes_none(self) -> None:
        self.assertNotEqual(srs_keys(self.state, make=False), srs_keys(self.state, make=False))
        self.assertFalse(os.path.lexists(self.state))

    def test_the_first_signs(self) -> None:
        self.write("# mine\nthe new key\n\nthe old key\n", 0o640)
        self.assertEqual(srs_keys(self.state, make=True), (b"the new key", b"the old key"))

    def test_what_is_no_key_stops_the_start(self) -> None:
        for text, mode in (("", 0o600), ("# x\n", 0o600), ("short\n", 0o600), ("the very key\n", 0o604)):
            self.write(text, mode)
            self.assertRaises(ValueError, srs_keys, self.state, make=True)
        os.unlink(place(self.state))
        os.symlink("/dev/null", place(self.state))
        self.assertRaises(OSError, srs_keys, self.state, make=True)
