"""What is shipped: written from the schema, in order as it stands, and with every option there is."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from config_cases import MINIMAL, Folder
from twisted.trial.unittest import SynchronousTestCase

from mta.config.describe import reference, shipped
from mta.config.fingerprint import NEED_RESTART
from mta.config.load import load
from mta.config.problems import ConfigurationError
from mta.config.render import option_fields
from mta.config.retry_rules import retry_rules
from mta.config.schema import Limits, Queue
from mta.delivery.smtp_options import SmtpOptions
from mta.routing.tables import optional
from tests.certificates import Authority

ROOT = Path(__file__).parents[3]
AGAIN = "run: python -m mta.config.describe"


class Shipped(SynchronousTestCase):
    def test_the_files_are_what_the_schema_says(self) -> None:
        self.assertEqual((ROOT / "etc/mta.toml").read_text(encoding="utf-8"), shipped(), AGAIN)
        self.assertEqual((ROOT / "docs/configuration.rst").read_text(encoding="utf-8"), reference(), AGAIN)

    def test_it_is_in_order_but_for_the_name_of_the_host(self) -> None:
        found = load(str(ROOT / "etc/mta.toml"), environ={})
        (warning,) = found.warnings
        self.assertEqual(warning.key_path, "hostname")
        self.assertEqual(found.listen[0].endpoint, "tcp:2525:interface=127.0.0.1")
        self.assertEqual(found.state, str(ROOT / "var"))

    def test_it_is_silent_with_a_name_of_ones_own(self) -> None:
        self.assertEqual(load(str(ROOT / "etc/mta.toml"), ["hostname=mx1.site.com"], environ={}).warnings, ())

    def test_every_option_stands_in_it_with_its_text(self) -> None:
        for kind in (Limits, Queue, SmtpOptions):
            for field in option_fields(kind):
                self.assertIn(f"\n#{field.name} = ", shipped())
                self.assertIn(f"``{field.name}``: ", reference())

    def test_mail_is_kept_as_long_as_the_rfc_wants(self) -> None:
        # RFC 5321 4.5.4.1: tried again after half an hour at least once the first tries are over, for 4 days or more
        configuration = load(str(ROOT / "etc/mta.toml"), environ={})
        self.assertGreaterEqual(configuration.queue.expire_after, 4 * 86400)
        self.assertGreaterEqual(retry_rules(configuration).rule("", "b.example").after[-1], 1800)

    def test_what_is_a_comment_can_be_uncommented(self) -> None:
        """Each line that shows an option is right where it stands: a user takes away its "#"."""
        folder = Folder(self)
        for name in ("mailboxes", "aliases"):
            folder.write(name, (ROOT / "etc" / name).read_text(encoding="utf-8"))
        for name in ("users", "customers", "team"):
            folder.write(name, "ann\n")
        folder.write("services", "ann: local\n")
        folder.write("moved", "old: reply=550\n")
        folder.write("local-senders", "www-data: shop@example.org\n")
        folder.write("quota", "ann: 2GiB\n")
        folder.write("names", "ann: Ann Example\n")
        for name in ("canonical", "canonical-senders", "canonical-recipients"):
            folder.write(name, "ann: ann.example@example.org\n")
        lines = [
            line.removeprefix("#") if line.startswith("#") and not line.startswith(("# ", "#\n")) else line
            for line in shipped().splitlines()
        ]
        text = "\n".join(lines).replace('"table:customers"', '"file:customers"')
        # A section for the example of a route; files and folders that the examples name.
        folder.write("plugins/none.txt")
        folder.write("texts/none.txt")
        for name in ("smart-host.password", "ldap.password", "accounts.token", "introspection.secret"):
            folder.write(name, "secret", 0o600)
        folder.write("srs-key", "a long secret", 0o600)
        folder.write("clients", "192.0.2.0/24 ours\n")
        folder.write("senders", "spammer@example.net: REJECT\n")
        folder.write("patterns", "/^(.*)-info@/ $1\n")
        with closing(sqlite3.connect(folder.write("accounts.sqlite"))) as db:
            db.execute("CREATE TABLE alias (address TEXT, targets TEXT)")
            db.execute("CREATE TABLE member (address TEXT, active INTEGER)")
        self.patch(optional, "find_spec", lambda name: True)  # what the extras bring
        authority = Authority()
        issued = authority.issue("mx1.site.com")
        folder.write("tls/authorities.pem", authority.pem)
        folder.write("tls/clients.pem", authority.pem)
        folder.write("tls/cert.pem", issued.certificate)
        folder.write("tls/key.pem", issued.key, 0o600)
        try:
            found = folder.load(text + '\n[delivery.partner]\ntype = "smtp"\n', environ={})
        except ConfigurationError as error:
            self.fail(str(error))
        self.assertEqual(found.route[0].to, ("partner.example", "*.partner.example"))

    def test_what_needs_a_restart_is_documented(self) -> None:
        for key in NEED_RESTART:
            shown = {"listen": "``[[listen]]``", "local": "``[local]``", "dns": "``[dns]``", "log": "``[log]``"}.get(
                key, f"``{key}``"
            )
            self.assertIn(shown, reference().partition("need a restart")[0])

    def test_what_the_program_shows_can_be_written(self) -> None:
        """``mta config show`` prints values that ``--set`` takes back unchanged."""
        folder = Folder(self)
        found = folder.load(MINIMAL)
        sets = [
            f"{key.replace('listen[0]', 'listen.mx')}={value}"
            for key, value in found.items()
            if key not in {"include", "route"}
        ]
        again = folder.load(MINIMAL, *sets)
        self.assertEqual((again, again.fingerprint), (found, found.fingerprint))
