"""The options of logins: what a listener offers, what contradicts what, what is warned of."""

from __future__ import annotations

from config_cases import MINIMAL, Folder
from twisted.trial.unittest import SynchronousTestCase

from mta.config.auth_options import offer_of
from mta.sasl.server import DEFAULT, Offer
from tests.certificates import Authority

ACCOUNTS = '[accounts.main]\ntype = "file"\npath = "accounts"\n'
TOKENS = '[accounts.tokens]\ntype = "oauth"\nissuer = "https://id.example"\naudience = "mail"\nkeys = "keys.json"\n'


class Logins(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Folder(self)

    def text(self, listen: str = "", more: str = "", service: str = "mx") -> str:
        changed = MINIMAL.replace(
            'endpoint = "tcp:2525"\n', f'endpoint = "tcp:2525"\nservice = "{service}"\n{listen}\n'
        )
        return changed + more

    def offer(self, listen: str = "", more: str = ACCOUNTS, service: str = "mx") -> Offer | None:
        found = self.folder.load(self.text(listen, more, service))
        return offer_of(found, found.listen[0])

    def wrong(self, listen: str = "", more: str = "", service: str = "mx") -> str:
        return "\n".join(self.folder.problems(self.text(listen, more, service)))

    def test_where_it_is_offered(self) -> None:
        self.assertIsNone(self.offer())
        self.assertIsNone(self.offer(service="lmtp"))
        self.assertIsNone(self.offer("", ""))
        for found in (self.offer("auth = true"), self.offer(service="submission")):
            assert found is not None
            self.assertEqual((found.hostname, found.mechanisms, found.tries), ("mx1.site.com", DEFAULT, 5))
            self.assertFalse(found.without_tls)

    def test_what_is_said_of_it(self) -> None:
        login = '[login]\ntries = 2\nmechanisms = ["PLAIN", "CRAM-MD5"]\n'
        told = 'scope = "mail"\ndiscovery = "https://id.example/x"\n'
        found = self.offer("auth = true\nplain_without_tls = true", ACCOUNTS + TOKENS + told + login)
        assert found is not None
        self.assertEqual((found.mechanisms, found.tries, found.without_tls), (("PLAIN", "CRAM-MD5"), 2, True))
        self.assertEqual((found.scope, found.discovery), ("mail", "https://id.example/x"))

    def test_what_is_wrong(self) -> None:
        self.assertIn("listen[0].auth: there are no accounts", self.wrong("auth = true"))
        self.assertIn('nobody logs in on a listener "lmtp"', self.wrong("auth = true", ACCOUNTS, "lmtp"))
        self.assertIn("has NTLM; there are SCRAM", self.wrong(more='[login]\nmechanisms = ["PLAIN", "NTLM"]'))
        self.assertIn("has nothing", self.wrong(more="[login]\nmechanisms = []"))

    def test_client_authority(self) -> None:
        self.folder.write("ca.pem", Authority().pem)
        self.folder.write("empty.pem")
        self.assertEqual(self.wrong('client_authority = "ca.pem"'), "")
        self.assertIn("certificates come with TLS alone", self.wrong('client_authority = "ca.pem"\ntls = "none"'))
        self.assertIn("has no certificates in PEM", self.wrong('client_authority = "empty.pem"'))
        self.assertIn("cannot be read", self.wrong('client_authority = "nowhere.pem"'))

    def test_passwords_in_clear_are_warned_of(self) -> None:
        warnings = self.folder.load(self.text("auth = true\nplain_without_tls = true", ACCOUNTS)).warnings
        self.assertIn("listen[0].plain_without_tls", [warning.key_path for warning in warnings])

    def test_a_listener_where_nobody_can_log_in_is_warned_of(self) -> None:
        warnings = self.folder.load(self.text('tls = "none"', ACCOUNTS, "submission")).warnings
        self.assertIn("listen[0].tls", [warning.key_path for warning in warnings])

    def test_tokens(self) -> None:
        right = TOKENS.replace('keys = "keys.json"\n', "")
        for line in ('keys_url = "https://id.example/k"', 'keys_url = "http://127.0.0.1:8080/k"'):
            self.assertEqual(self.wrong(more=right + line), "")
        self.assertEqual(
            self.wrong(more=f'{right}introspection = "https://id.example/i"\nclient = "mail"\nsecret = "s"'), ""
        )
        for line, said in (
            ('keys_url = "http://id.example/k"', 'begin with "https://HOST/"'),
            ('keys_url = "https://ann@id.example/k"', "without a user"),
            ('keys_url = "id.example"', "is not the address of a web service"),
            ('keys = "k"\nalgorithms = ["HS256"]', "has HS256"),
            ('introspection = "https://id.example/i"', "wants to know who asks"),
            ('keys = "k"\nkeys_url = "https://id.example/k"', "stands with 2"),
            ("", "stands with 0"),
        ):
            self.assertIn(said, self.wrong(more=right + line), line)
