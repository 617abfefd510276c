"""Whatever stands in the files or after ``--set``: a configuration, or an error that says why; never anything else."""

from __future__ import annotations

import datetime
from typing import Any

from config_cases import MINIMAL, PROVIDERS, Folder, mapping
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.config.domain_options import Domain
from mta.config.load import Configuration, ConfigurationError, from_mapping
from mta.config.render import option_fields
from mta.config.schema import Configuration as Schema
from mta.config.schema import Dns, Limits, Listen, Log, Plugins, Privacy, Queue, Relay, Route
from mta.delivery.maildir import MaildirOptions
from mta.delivery.smtp_options import SmtpOptions

SECTIONS = (
    Schema,
    Listen,
    Limits,
    Dns,
    Relay,
    Domain,
    Route,
    Queue,
    Privacy,
    Log,
    Plugins,
    SmtpOptions,
    MaildirOptions,
)
KEYS = sorted({field.name for kind in SECTIONS for field in option_fields(kind)} | {"type", "check", "__class__"})
NAMES = ["site.com", "SITE.com", "b.example", "local", "internet", "users", "a b", "", "\0", "é"]

keys = st.one_of(st.sampled_from(KEYS), st.sampled_from(NAMES), st.text(max_size=5))
WORDS = [
    "5m",
    "50MiB",
    "tcp:25",
    "unix:x",
    "haproxy:tcp:1",
    "table:users",
    "table:none",
    "file:users",
    "file:/",
    "mx",
    "*",
    "*.b.example",
    "b.example",
    "local",
    "smtp",
    "maildir",
    "discard",
    "file",
    "::/0",
    "0.0.0.0/0",
    "192.0.2.1",
    "postmaster@site.com",
    "root@b.example",
    "mail/{domain}/{local_part}",
    "{",
    "info",
    "xn--a",
    "[",
    "\\",
]
leaves = st.one_of(
    st.sampled_from(WORDS),
    st.text(max_size=8),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.dates(),
    st.times(),
    st.datetimes(timezones=st.sampled_from([None, datetime.UTC])),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)


class Fuzz(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Folder(self)
        self.folder.write("users", "postmaster\n")

    def read(self, tree: dict[str, Any]) -> None:
        try:
            found = from_mapping(tree, self.folder.path, providers=PROVIDERS, environ={})
        except ConfigurationError as error:
            self.explained(error)
        else:
            self.usable(found)

    def explained(self, error: ConfigurationError) -> None:
        self.assertTrue(error.problems)
        self.assertEqual(len(str(error).split("\n")), len(error.problems))
        for problem in error.problems:
            self.assertTrue(problem.what)

    def usable(self, found: Configuration) -> None:
        self.assertIsInstance(found, Configuration)
        self.assertEqual(len(found.fingerprint), 12)
        self.assertTrue(list(found.items()))

    @settings(max_examples=60, deadline=None)
    @given(st.dictionaries(keys, trees, max_size=8))
    def test_any_tree(self, tree: dict[str, Any]) -> None:
        self.read(tree)

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(KEYS), trees), min_size=1, max_size=3))
    def test_a_right_one_with_other_values_at_its_top(self, changes: list[tuple[str, Any]]) -> None:
        self.read({**mapping(), **dict(changes)})

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def test_a_right_one_with_other_values_within(self, data: st.DataObject) -> None:
        tree = mapping()
        places: list[dict[str, Any]] = [
            tree["listen"][0],
            tree["domains"]["site.com"],
            tree["delivery"]["local"],
            tree["delivery"]["internet"],
            *(tree.setdefault(name, {}) for name in ("limits", "queue", "relay", "dns", "log", "tables")),
            *tree.setdefault("route", [{"name": "a", "to": "a.example", "via": "local"}]),
        ]
        for _ in range(data.draw(st.integers(1, 3))):
            data.draw(st.sampled_from(places))[data.draw(keys)] = data.draw(trees)
        self.read(tree)

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.one_of(st.text(max_size=30), st.builds("{}={}".format, keys, st.text(max_size=10))), max_size=3))
    def test_any_override(self, overrides: list[str]) -> None:
        paths = [f"listen.{text}" for text in overrides] + [f"delivery.{text}" for text in overrides]
        for given_overrides in (overrides, paths):
            self.load(MINIMAL, *given_overrides)

    def test_an_override_of_a_broken_listener(self) -> None:
        """A name that is no text once broke the search for it."""
        self.load(MINIMAL.replace('name = "mx"', 'name = ["mx"]'), "listen.mx.endpoint=tcp:1")

    def test_an_override_deeper_than_the_stack(self) -> None:
        said = "--set: a: is nested too deeply; no option lies so deep"
        self.assertEqual(self.folder.problems(MINIMAL, "a." * 3000 + "a=1"), [said])

    @settings(max_examples=50, deadline=None)
    @given(st.integers(0, len(MINIMAL) - 1), st.integers(0, 12), st.binary(max_size=12))
    def test_damaged_text(self, start: int, length: int, put: bytes) -> None:
        octets = MINIMAL.encode()
        self.load(octets[:start] + put + octets[start + length :])

    def load(self, text: str | bytes, *overrides: str) -> None:
        try:
            self.usable(self.folder.load(text, *overrides, providers=PROVIDERS, environ={}))
        except ConfigurationError as error:
            self.explained(error)
