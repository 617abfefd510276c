"""SCRAM tells by the proof which of an account's passwords it was."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mta.accounts import ways
from mta.accounts.credentials import Disproved, Proved
from mta.accounts.file import keys_of, with_password
from mta.accounts.hashes import Cost
from mta.accounts.records import Record
from mta.sasl.client import Login, SaslError, ScramSha256
from mta.sasl.exchange import Challenge, Done, NeedsKeys
from mta.sasl.scram import SHA256, Scram

CHEAP = Cost(8, 1)


class WhichPassword(SynchronousTestCase):
    def setUp(self) -> None:
        record = with_password(Record(name="bob"), b"the password", CHEAP, scram=True)
        for label, given in (("phone", "of-the-phone"), ("laptop", "of-the-laptop")):
            record = ways.with_app_password(record, label, given, 1, CHEAP, scram=True)
        self.record = record

    def exchange(self, password: str) -> Done:
        """How it ends; a client that is let in has seen our proof."""
        client = ScramSha256(Login(user="bob", password=password), "client")
        server = Scram(SHA256, plus=False, bindings={}, offers_plus=False, nonce=lambda: "server")
        asked = server.step(client.start() or b"")
        assert isinstance(asked, NeedsKeys)
        keys = keys_of(self.record, asked.hash_name)
        assert keys is not None
        challenge: Any = server.told(keys)
        assert isinstance(challenge, Challenge)
        done = server.step(client.step(challenge.octets))
        assert isinstance(done, Done)
        if isinstance(done.credentials, Proved):
            client.step(done.last)
            self.assertTrue(client.done)
        else:
            self.assertRaises(SaslError, client.step, done.last)
        return done

    def test_each_of_them(self) -> None:
        for password, label in (("the password", ""), ("of-the-phone", "phone"), ("of-the-laptop", "laptop")):
            credentials: Any = self.exchange(password).credentials
            self.assertIsInstance(credentials, Proved)
            self.assertEqual(credentials.credential, label)

    def test_none_of_them(self) -> None:
        self.assertIsInstance(self.exchange("another").credentials, Disproved)

    def test_an_account_with_app_passwords_alone(self) -> None:
        record = Record(name="bob")
        self.assertIsNone(keys_of(record, "sha-256"))
        self.record = ways.with_app_password(record, "phone", "of-the-phone", 1, CHEAP, scram=True)
        credentials: Any = self.exchange("of-the-phone").credentials
        self.assertEqual(credentials.credential, "phone")
        self.assertIsInstance(self.exchange("the password").credentials, Disproved)
