"""Configurations told apart, and what a reload leaves as it was."""

from __future__ import annotations

from typing import Any

from config_cases import PROVIDERS, mapping
from twisted.trial.unittest import SynchronousTestCase

from mta.config.fingerprint import changed_needing_restart, keep_running
from mta.config.load import Configuration, from_mapping


def configuration(**changes: Any) -> Configuration:
    return from_mapping({**mapping(), **changes}, "/srv/etc", providers=PROVIDERS)


class Fingerprint(SynchronousTestCase):
    def test_the_same_values_however_they_are_written(self) -> None:
        one = configuration(queue={"expire_after": "5d"}, hostname="MX1.site.com.")
        other = configuration(queue={"expire_after": "120h"}, limits={"recipients": 1000})
        self.assertEqual(one.fingerprint, other.fingerprint)
        self.assertEqual(len(one.fingerprint), 12)

    def test_one_option_makes_another(self) -> None:
        delivery = {**mapping()["delivery"], "internet": {"type": "smtp", "port": 26}}
        prints = {
            configuration().fingerprint,
            configuration(limits={"recipients": 999}).fingerprint,
            configuration(delivery=delivery).fingerprint,
        }
        self.assertEqual(len(prints), 3)


class Reload(SynchronousTestCase):
    def test_what_needs_a_restart_is_named(self) -> None:
        old = configuration()
        new = configuration(
            hostname="mx2.site.com",
            state="elsewhere",
            listen=[{"name": "mx", "endpoint": "tcp:26"}],
            limits={"recipients": 5},
        )
        self.assertEqual(changed_needing_restart(old, old), ())
        self.assertEqual(changed_needing_restart(old, new), ("hostname", "state", "listen"))

    def test_it_changes_nothing_and_the_rest_comes_into_force(self) -> None:
        old = configuration()
        new = configuration(hostname="mx2.site.com", limits={"recipients": 5}, queue={"reserve": "1GiB", "active": 7})
        kept = keep_running(old, new)
        self.assertEqual((kept.hostname, kept.queue.reserve), (old.hostname, old.queue.reserve))
        self.assertEqual((kept.limits.recipients, kept.queue.active), (5, 7))
        expected = configuration(limits={"recipients": 5}, queue={"active": 7})
        self.assertEqual(kept.fingerprint, expected.fingerprint)
