"""``mta dns``: the records of a configuration, and what DNS has of them."""

from __future__ import annotations

import json
import os
from typing import Any
from xml.etree import ElementTree

from stopped_state import StoppedState
from told_dns import told_dns

from mta.admin import dns
from mta.admin.dns_wanted import Site, Zone, domain_records

ADDRESS = "198.41.0.4"
MORE = """
[[listen]]
name = "submission"
endpoint = "tcp:587"
service = "submission"
policy = []

[[listen]]
name = "submissions"
endpoint = "tcp:465"
service = "submission"
tls = "implicit"
policy = []

[accounts.main]
type = "file"
path = "accounts"

[domains."backup.example"]
relay = true

[domains."none.example"]
null = true

[srs]
domain = "srs.ours.example"

[clients]
imap = "imap.ours.example:993"
web = "www.ours.example"
"""
#: What is right for all of it.
ZONE = f"""
ours.example MX 5 mail.ours.example
ours.example TXT v=spf1 mx -all
_dmarc.ours.example TXT v=DMARC1; p=reject
mail.ours.example A {ADDRESS}
mail.ours.example TXT v=spf1 a -all
{ADDRESS} PTR mail.ours.example
"""


class DnsCase(StoppedState):
    more = MORE

    def setUp(self) -> None:
        super().setUp()
        self.dns = told_dns(self)
        self.patch(dns, "_own_addresses", lambda: [ADDRESS])

    def zone(self, text: str = ZONE) -> None:
        for line in text.strip().splitlines():
            self.dns.add(*line.split(None, 1))


class Printed(DnsCase):
    def test_a_domain(self) -> None:
        said = self.ok("dns", "ours.example")
        for line in (
            "ours.example. IN MX 10 mail.ours.example.",
            'ours.example. IN TXT "v=spf1 mx -all"',
            '_dmarc.ours.example. IN TXT "v=DMARC1; p=none; rua=mailto:postmaster@ours.example"',
            '_smtp._tls.ours.example. IN TXT "v=TLSRPTv1; rua=mailto:postmaster@ours.example"',
            # RFC 6186 3.1; RFC 8314 5.1
            "_submission._tcp.ours.example. IN SRV 0 1 587 mail.ours.example.",
            "_submissions._tcp.ours.example. IN SRV 0 1 465 mail.ours.example.",
            "_imaps._tcp.ours.example. IN SRV 0 1 993 imap.ours.example.",
            "autoconfig.ours.example. IN CNAME www.ours.example.",
            "_autodiscover._tcp.ours.example. IN SRV 0 0 443 www.ours.example.",
            f"mail.ours.example. IN A {ADDRESS}",
            "4.0.41.198.in-addr.arpa. IN PTR mail.ours.example.",
            # RFC 7208 2.3
            'mail.ours.example. IN TXT "v=spf1 a -all"',
        ):
            self.assertIn(f"\n{line}\n", said)
        self.assertNotIn("backup.example", said)

    def test_all_domains(self) -> None:
        said = self.ok("dns")
        self.assertIn("backup.example. IN MX 20 mail.ours.example.\n", said)
        # RFC 7505 3
        self.assertIn("none.example. IN MX 0 .\n", said)
        self.assertIn("srs.ours.example. IN MX 10 mail.ours.example.\n", said)
        self.assertNotIn("_dmarc.srs.ours.example", said)

    def test_keys(self) -> None:
        self.ok("dkim", "keygen", "ours.example", "--algorithm", "ed25519-sha256", "--selector", "s1")
        self.assertIn('\ns1._domainkey.ours.example. IN TXT "v=DKIM1; k=ed25519; p=', self.ok("dns", "ours.example"))

    def test_addresses(self) -> None:
        said = self.ok("dns", "ours.example", "--address", "2001:db8::1", "--address", "192.0.2.1")
        self.assertIn("mail.ours.example. IN AAAA 2001:db8::1\n", said)
        self.assertIn("mail.ours.example. IN A 192.0.2.1\n", said)
        self.assertIn("8.b.d.0.1.0.0.2.ip6.arpa. IN PTR mail.ours.example.\n", said)
        self.patch(dns, "_own_addresses", list)
        self.assertIn("; mail.ours.example. IN A ?\n", self.ok("dns", "ours.example"))

    def test_a_domain_that_is_not_here(self) -> None:
        self.assertIn('did you mean "ours.example"', self.refused("dns", "our.example"))
        self.refused("dns", "a b")
        self.refused("dns", "--address", "x")

    def test_the_id_changes_with_the_policy(self) -> None:
        # RFC 8461 3.1
        sites = [Site(hostname="mx.ours.example", web="w.ours.example", tlsa=tlsa) for tlsa in ("", "00")]
        names = {
            wanted.text
            for site in sites
            for wanted in domain_records(site, Zone(name="ours.example"))
            if "sts" in wanted.name
        }
        self.assertEqual(len([text for text in names if text]), 2)

    def test_files(self) -> None:
        self.ok("dns", "--files", "web")
        root = ElementTree.parse("web/autoconfig.ours.example/mail/config-v1.1.xml").getroot()
        (provider,) = root
        self.assertEqual(provider.attrib["id"], "ours.example")
        servers = [
            (server.attrib["type"], *(server.findtext(name) for name in ("hostname", "port", "socketType", "username")))
            for server in provider
            if server.tag.endswith("Server")
        ]
        self.assertEqual(
            servers,
            [
                ("imap", "imap.ours.example", "993", "SSL", "%EMAILADDRESS%"),
                ("smtp", "mail.ours.example", "587", "STARTTLS", "%EMAILADDRESS%"),
                ("smtp", "mail.ours.example", "465", "SSL", "%EMAILADDRESS%"),
            ],
        )
        tree = ElementTree.parse("web/autodiscover.ours.example/autodiscover/autodiscover.xml")
        space = "{http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a}"
        types = [element.text for element in tree.iter(f"{space}Type")]
        self.assertEqual(types, ["SMTP", "SMTP", "IMAP"])
        with open("web/mta-sts.ours.example/.well-known/mta-sts.txt", newline="") as file:
            # RFC 8461 3.2
            self.assertIn("mode: testing\r\nmx: mail.ours.example\r\n", file.read())
        self.assertFalse(os.path.exists("web/autoconfig.backup.example"))


class Checked(DnsCase):
    def found(self, *more: str) -> dict[tuple[str, str], Any]:
        result = self.run_mta("dns", "ours.example", "--check", "--json", *more)
        self.exit = result.exit_code
        return {(one["name"], one["type"], one["data"][:7]): one["dns"]["seen"] for one in json.loads(result.stdout)}

    def seen(self, name: str, kind: str) -> str:
        (seen,) = {seen for (known, type_, _), seen in self.found().items() if (known, type_) == (name, kind)}
        return str(seen)

    def test_nothing_is_there(self) -> None:
        found = self.found()
        self.assertEqual((set(found.values()), self.exit), ({"missing"}, 1))

    def test_all_that_is_needed(self) -> None:
        self.zone()
        found = self.found()
        self.assertEqual(self.exit, 0, found)
        self.assertEqual(found["ours.example", "MX", "10 mail"], "right")
        self.assertEqual(found["_smtp._tls.ours.example", "TXT", '"v=TLSR'], "missing")
        said = self.ok("dns", "ours.example", "--check")
        self.assertIn('RIGHT    _dmarc.ours.example. IN TXT "v=DMARC1; p=none;', said)
        self.assertIn("not in DNS, and not needed (reports on TLS", said)

    def test_addresses_that_only_dns_knows(self) -> None:
        self.zone()
        self.patch(dns, "_own_addresses", list)
        self.assertEqual(self.seen("4.0.41.198.in-addr.arpa", "PTR"), "right")
        self.assertEqual(self.exit, 0)

    def test_what_is_wrong(self) -> None:
        for name, kind, record in (
            ("ours.example", "MX", "MX 10 mx.elsewhere.example"),
            ("ours.example", "TXT", "TXT v=spf1 ip4:192.0.2.1 -all"),
            ("_dmarc.ours.example", "TXT", "TXT v=DMARC1; rua=mailto:x@ours.example"),
            ("mail.ours.example", "A", "A 192.0.2.99"),
            ("_imaps._tcp.ours.example", "SRV", "SRV 0 1 143 imap.ours.example"),
            ("4.0.41.198.in-addr.arpa", "PTR", "PTR other.example"),
        ):
            with self.subTest(name=name, kind=kind):
                self.dns.remove(name)
                self.dns.add(name, record)
                self.assertEqual(self.seen(name, kind), "wrong")
                self.assertEqual(self.exit, 1)

    def test_spf_that_names_us_in_another_way(self) -> None:
        for record, seen in {
            f"v=spf1 ip4:{ADDRESS}/24 -all": "right",
            "v=spf1 include:spf.provider.example ~all": "right",
            "v=spf1 a:mail.ours.example -all": "right",
            "v=spf1 a:other.example ip4:x -all": "wrong",
            "v=spf1": "wrong",
        }.items():
            with self.subTest(record=record):
                self.dns.remove("ours.example")
                self.dns.add("ours.example", f"TXT {record}")
                self.assertEqual(self.seen("ours.example", "TXT"), seen)
        # RFC 7208 4.5
        self.dns.add("ours.example", "TXT v=spf1 mx -all")
        self.assertEqual(self.seen("ours.example", "TXT"), "wrong")

    def test_records_that_count_once(self) -> None:
        # RFC 8460 3
        self.dns.add("_smtp._tls.ours.example", "TXT v=TLSRPTv1;rua=mailto:x@ours.example")
        self.assertEqual(self.seen("_smtp._tls.ours.example", "TXT"), "right")
        self.dns.add("_smtp._tls.ours.example", "TXT v=TLSRPTv1; rua=https://ours.example/")
        self.assertEqual(self.seen("_smtp._tls.ours.example", "TXT"), "wrong")

    def test_dns_that_cannot_say(self) -> None:
        self.zone()
        self.dns.add("_dmarc.ours.example", "servfail")
        self.assertEqual(self.seen("_dmarc.ours.example", "TXT"), "unknown")
        self.assertEqual(self.exit, 1)
