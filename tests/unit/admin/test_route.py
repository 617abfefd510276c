"""``mta route``: everything that the decisions returned, for people and as values; nothing is sent."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mta.admin.main import main

SITE = """\
format = 1
hostname = "mail.site.com"
postmaster = "ann@ours.example"
state = "var"
[[listen]]
name = "mx"
endpoint = "tcp:2525:interface=127.0.0.1"
[relay]
networks = ["10.0.0.0/8"]
[domains."ours.example"]
mailboxes = "file:boxes"
aliases = "file:aliases"
deliver = "local"
[[route]]
name = "partner"
to = ["*.partner.example"]
via = "smart"
[[route]]
name = "bank"
to = ["bank.example"]
via = "smart"
[[pace]]
name = "gently"
to = ["bank.example"]
connections = 3
[delivery.local]
type = "maildir"
path = "mail/{domain}/{local_part}"
[delivery.internet]
type = "smtp"
[delivery.smart]
type = "smtp"
host = "[192.0.2.25]"
tls = "verify"
"""
OURS = '[domains."ours.example"]'
ALIASES = "info: bob\nteam: ann, info, loop\nloop: team\nself: other\nother: self\n"


class Command(SynchronousTestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="txmta-")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.write("etc", SITE)

    def write(self, folder: str, site: str, aliases: str = ALIASES) -> Path:
        (self.folder / folder).mkdir()
        (self.folder / folder / "boxes").write_text("ann\nbob\n")
        (self.folder / folder / "aliases").write_text(aliases)
        path = self.folder / folder / "mta.toml"
        path.write_text(site)
        return path

    def mta(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, ["--config", str(self.folder / "etc/mta.toml"), "route", *arguments])

    def values(self, *arguments: str, code: int = 0) -> Any:
        result = self.mta(*arguments, "--no-dns", "--json")
        self.assertEqual(result.exit_code, code, result.output)
        return json.loads(result.stdout)

    def line(self, words: str) -> int:
        lines = (self.folder / "etc/mta.toml").read_text().splitlines()
        return lines.index(words) + 1


class Route(Command):
    def test_an_alias_with_its_line_and_its_mailbox(self) -> None:
        result = self.mta("info@ours.example", "--no-dns")
        self.assertEqual(result.exit_code, 0, result.output)
        for words in (
            "192.0.2.1 (client.example.net) a stranger: may send to our domains alone",
            "RCPT <info@ours.example>   250 2.1.5 Ok",
            "250 2.0.0 Ok: queued\n",
            f"alias: file:{self.folder}/etc/aliases   {self.folder}/etc/aliases:1\n  -> bob@ours.example\n",
            "bob@ours.example by local to ours.example\n",
            f"domain ours.example is ours   {self.folder}/etc/mta.toml:{self.line(OURS)}\n",
            f"into {self.folder}/etc/mail/ours.example/bob\n",
            "sent to info@ours.example, by alias:info@ours.example\n",
        ):
            self.assertIn(words, result.output)
        self.assertFalse((self.folder / "etc/mail").exists())
        self.assertFalse((self.folder / "etc/var").exists())

    def test_loops_and_duplicates_stand_in_the_tree(self) -> None:
        (tree,) = self.values("team@ours.example")["trees"]
        notes = {
            (above["address"], below["address"]): below["note"]
            for above in (tree, *tree["targets"])
            for below in above["targets"]
        }
        self.assertEqual(notes["loop@ours.example", "team@ours.example"], "loop")
        (tree,) = self.values("self@ours.example", code=1)["trees"]
        self.assertEqual(tree["failure"][:9], "554 5.4.6")
        self.assertEqual(tree["targets"][0]["targets"][0]["note"], "loop", "though it leads nowhere")

    def test_who_is_refused_sees_the_reply(self) -> None:
        values = self.values("x@else.example", "ann@ours.example", code=1)
        self.assertEqual([one["reply"][:9] for one in values["rcpt"]], ["550 5.7.1", "250 2.1.5"])
        self.assertEqual(self.values("ann@ours.example", "--size", "999999999", code=1)["mail"][:9], "552 5.3.4")
        self.assertEqual(self.values("x@else.example", "--auth", "ann")["client"]["rights"], ["authenticated"])
        self.assertEqual(self.values("x@else.example", "--client", "10.1.2.3")["client"]["rights"], ["network"])

    def test_what_nearly_matched(self) -> None:
        near = self.values("annn@ours.example", "x@mail.ours.example", code=1)["near"]
        self.assertEqual([one["what"] for one in near], [f"ann in file:{self.folder}/etc/boxes", "domain ours.example"])
        self.assertEqual(near[0]["where"], f"{self.folder}/etc/boxes:1")
        (route,) = self.values("x@partner.example", "--client", "10.1.2.3")["near"]
        self.assertIn("is what is below partner.example, not partner.example itself", route["why"])
        self.assertEqual(route["where"], f"{self.folder}/etc/mta.toml:{self.line('[[route]]')}")

    def test_a_smart_host_with_its_tls_and_pace(self) -> None:
        result = self.mta("x@bank.example", "--client", "10.1.2.3")
        self.assertEqual(result.exit_code, 0, result.output)
        for words in ("route bank   ", "[192.0.2.25] port 25", "TLS verify", "pace gently: 3 connections at once   "):
            self.assertIn(words, result.output)

    def test_a_message_of_ones_own(self) -> None:
        path = self.folder / "message"
        path.write_bytes(b"Received: x\n" * 200 + b"\nhello\n")
        (reply,) = self.values("ann@ours.example", "--message", str(path), code=1)["data"]
        self.assertEqual(reply[:9], "554 5.4.6")

    def test_what_a_stranger_chose_is_escaped(self) -> None:
        result = self.mta("\x1b[2J@ours.example", "--no-dns")
        self.assertEqual(result.exit_code, 1)
        self.assertNotIn("\x1b", result.output)

    def test_what_cannot_be_asked(self) -> None:
        for arguments, words in (
            ((), "say an address"),
            (("a@b.example", "--client", "here"), "is no IP address"),
            (("a@b.example", "--listener", "none"), "there is no listener none"),
            (("a@b.example\r\nRSET",), "no client can send"),
            (("--addresses", os.devnull), "--addresses is for --against"),
            (("a@b.example", "--against", "/none"), "the other configuration is wrong"),
        ):
            result = self.mta(*arguments)
            self.assertNotEqual(result.exit_code, 0)
            self.assertIn(words, result.output)
            self.assertNotIn("Traceback", result.output)


class Against(Command):
    def test_only_what_differs(self) -> None:
        self.write("new", SITE.replace('tls = "verify"', 'tls = "encrypt"'), ALIASES.replace("info: bob", "info: ann"))
        listed = self.folder / "addresses"
        listed.write_text("# ours\nann@ours.example\ninfo@ours.example\n\n<info@ours.example>\nx@bank.example\n")
        arguments = ("--against", str(self.folder / "new"), "--addresses", str(listed))
        result = self.mta(*arguments)
        self.assertEqual(result.exit_code, 1, result.output)
        self.assertIn("1 of 3 differ", result.output)
        self.assertIn("-   bob@ours.example by local", result.output)
        self.assertIn("+   ann@ours.example by local", result.output)
        result = self.mta(*arguments, "--client", "10.1.1.1", "--json")
        values = json.loads(result.stdout)
        self.assertEqual(values["compared"], 3)
        self.assertEqual([one["address"] for one in values["different"]], ["info@ours.example", "x@bank.example"])
        self.assertEqual(values["different"][1]["then"]["recipients"][0]["tls"], "encrypt")

    def test_a_copy_does_the_same(self) -> None:
        self.write("new", SITE)
        result = self.mta("ann@ours.example", "x@else.example", "--against", str(self.folder / "new/mta.toml"))
        self.assertEqual((result.exit_code, result.output), (0, "no difference for 2\n"))
