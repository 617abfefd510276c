"""What a worker that is started again has from its parent, and what from the file."""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mta.config.load import Configuration, from_mapping
from mta.workers.kept import apply, make


def configuration(**changes: Any) -> Configuration:
    plain = {
        "format": 1,
        "hostname": "mx1.site.com",
        "postmaster": "postmaster@site.com",
        "state": "state",
        "workers": 2,
        "listen": [{"name": "mx", "endpoint": "tcp:25", "service": "mx"}],
        "domains": {"site.com": {"deliver": "local"}},
        "delivery": {"local": {"type": "maildir", "path": "mail/{local_part}"}, "internet": {"type": "smtp"}},
    }
    return from_mapping({**plain, **changes}, "/srv/etc")


class Kept(SynchronousTestCase):
    def test_what_needs_a_restart_is_the_parents(self) -> None:
        old = configuration()
        descriptor = make(old)
        self.addCleanup(os.close, descriptor)
        new = configuration(
            hostname="mx2.site.com",
            state="elsewhere",
            workers=3,
            listen=[{"name": "renamed", "endpoint": "tcp:26", "service": "mx"}],
            dns={"timeout": "3s"},
            queue={"reserve": "1GiB", "active": 7},
            log={"file": "other.log"},
        )
        for _ in range(2):  # each worker reads it, and so does the next one in its place
            got = apply(descriptor, new)
            self.assertEqual((got.hostname, got.state, got.workers), ("mx1.site.com", "/srv/etc/state", 2))
            self.assertEqual(got.listen, old.listen)
            self.assertEqual((got.dns, got.queue.reserve, got.log), (old.dns, old.queue.reserve, old.log))
            self.assertEqual(got.queue.active, 7)
            self.assertEqual(got.fingerprint, configuration(queue={"active": 7}).fingerprint)

    def test_every_kind_of_value_comes_through(self) -> None:
        old = configuration(
            listen=[
                {"name": "mx", "endpoint": "tcp6:25", "tls": "implicit", "proxy": ["192.0.2.0/24", "2001:db8::/32"]},
                {"name": "in", "endpoint": "unix:/run/x", "service": "lmtp", "xclient": ["::1/128"]},
            ],
            dns={"servers": ["[2001:db8::1]:53", "192.0.2.1"], "timeout": "1500ms", "trust_ad": True},
            log={"file": "mta.log", "level": "debug", "format": "json"},
        )
        descriptor = make(old)
        self.addCleanup(os.close, descriptor)
        got = apply(descriptor, configuration())
        self.assertEqual((got, got.fingerprint), (old, old.fingerprint))
