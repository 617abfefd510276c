"""Reading a whole configuration: what it gives, and every mistake at once, each with what would be right."""

from __future__ import annotations

import os
from dataclasses import fields
from ipaddress import ip_network
from typing import Any

from config_cases import MINIMAL, Folder, mapping, problems_of
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.config.load import ConfigurationError, from_mapping, load
from mta.config.option import Options, Secret, option
from mta.config.providers import Providers
from mta.config.render import option_fields
from mta.config.schema import Configuration, Listen
from mta.delivery.smtp import SmtpDelivery, SmtpOptions
from mta.plugin import Services, provider


class Right(SynchronousTestCase):
    def test_what_the_program_sees(self) -> None:
        folder = Folder(self)
        more = '[relay]\nnetworks = ["192.0.2.0/24"]\n[queue]\nretry = ["1m", "1h"]\n[[route]]\nname = "a"\n'
        found = folder.load(MINIMAL + more + 'to = "*.B.example"\nvia = "internet"\n')
        self.assertEqual(found.hostname, "mx1.site.com")
        self.assertEqual(found.postmaster, Address("postmaster", "site.com"))
        self.assertEqual(found.state, os.path.join(folder.path, "var"))
        self.assertEqual(found.listen[0].endpoint, "tcp:2525")
        self.assertEqual(found.limits.message_size, 50 * 1024 * 1024)
        self.assertEqual(found.relay.networks, (ip_network("192.0.2.0/24"),))
        self.assertEqual(found.queue.retry, (60.0, 3600.0))
        self.assertEqual(found.domains["site.com"].deliver, "local")
        self.assertEqual(found.route[0].to, ("*.b.example",))
        section = found.delivery["internet"]
        self.assertEqual((section.type_name, section.provider), ("smtp", SmtpDelivery))
        self.assertEqual(section.options, SmtpOptions())
        self.assertEqual(found.warnings, ())
        self.assertEqual(found.files, (os.path.join(folder.path, "mta.toml"),))

    def test_all_options_as_text(self) -> None:
        items = dict(Folder(self).load().items())
        self.assertEqual(items["limits.message_size"], '"50MiB"')
        self.assertEqual(items["queue.expire_after"], '"5d"')
        self.assertEqual(items['domains."site.com".deliver'], '"local"')
        self.assertEqual(items["delivery.internet.type"], '"smtp"')

    def test_a_placeholder_as_hostname_is_a_warning(self) -> None:
        # RFC 2606; RFC 6761 6.3, 6.4
        folder = Folder(self)
        found = folder.load(MINIMAL.replace("mx1.site.com", "mail.example.org"))
        (warning,) = found.warnings
        said = 'mta.toml: hostname: "mail.example.org" is a placeholder; write the full name of this host'
        self.assertEqual(str(warning).replace(f"{folder.path}/", ""), said)


class Wrong(SynchronousTestCase):
    """One change to a right configuration, and all that is said of it."""

    def said(self, *said: str, **changes: Any) -> None:
        changed = {**mapping(), **changes}
        self.assertEqual(problems_of({k: v for k, v in changed.items() if v is not None}), list(said))

    def test_nothing_at_all(self) -> None:
        self.assertEqual(
            problems_of({}),
            [
                "configuration: format is missing; write format = 1".removeprefix("configuration: "),
                'hostname is missing; write hostname = "mail.example.org"',
                'postmaster is missing; write postmaster = "postmaster@example.org"',
                'state is missing; write state = "../var"',
                "listen is missing; write [[listen]] and its keys below",
                "delivery: internet is missing: mail for all other domains has no way out; "
                'write [delivery.internet] and type = "smtp"',
            ],
        )

    def test_format(self) -> None:
        self.said("format: 2 is not a format that this version knows; write 1", format=2)
        self.said("format: true is not a whole number; write a number without quotes, such as 100", format=True)

    def test_hostname(self) -> None:
        what = 'is not a fully qualified domain name; write one such as "mail.example.org"'
        for name in ("mx1", "mx_1.example.com", "[192.0.2.1]", "192.0.2.1"):
            self.said(f'hostname: "{name}" {what}', hostname=name)
        self.said(
            'hostname: "a b.example" is not a domain: the domain has a wrong character or a wrong length; '
            'write one such as "example.org"',
            hostname="a b.example",
        )

    def test_unknown_keys_with_what_was_meant(self) -> None:
        self.said('limts: is not known; did you mean "limits"?', limts={})
        self.said('limits.recipents: is not known; did you mean "recipients"?', limits={"recipents": 5})
        self.said(
            "relay.xyz: is not known; known are: networks, own_addresses",
            relay={"xyz": 1},
        )

    def test_a_key_of_a_later_version_is_not_known(self) -> None:
        listen = [{"name": "mx", "endpoint": "tcp:25", "milters": "required"}]
        known = ", ".join(sorted(field.name for field in fields(Listen)))
        self.said(f"listen[0].milters: is not known; known are: {known}", listen=listen)

    def test_listeners(self) -> None:
        self.said("listen: is empty; write at least one", listen=[])
        self.said("listen: is not a list of tables; write [[listen]] for each", listen={"name": "mx"})
        two = [{"name": "mx", "endpoint": "tcp:25"}, {"name": "mx", "endpoint": "tcp:26"}]
        self.said(
            'listen[0].name: "mx" is the name of 2 of them; give each a name of its own',
            'listen[1].name: "mx" is the name of 2 of them; give each a name of its own',
            listen=two,
        )
        same = [{"name": "mx", "endpoint": "tcp:25"}, {"name": "mx2", "endpoint": "tcp:25"}]
        self.said(
            'listen[1].endpoint: "tcp:25" is where the listener "mx" is: the same address; leave one out, or give it '
            "another port",
            listen=same,
        )
        self.said(
            'listen[0].service: "smtp" is not a kind; write "mx", "submission" or "lmtp"',
            listen=[{"name": "in", "endpoint": "tcp:25", "service": "smtp"}],
        )

    def test_lmtp_is_not_spoken_on_port_25(self) -> None:
        # RFC 2033 5
        for endpoint in ("tcp:25", "tcp6:25", "tcp:port=25:interface=127.0.0.1"):
            self.said(
                'listen[0].endpoint: LMTP is never spoken on port 25; write a UNIX socket or another port, as "tcp:24"',
                listen=[{"name": "in", "endpoint": endpoint, "service": "lmtp"}],
            )
        for endpoint in ("tcp:24", "unix:25", "systemd:domain=INET:name=25"):
            self.said(listen=[{"name": "in", "endpoint": endpoint, "service": "lmtp"}])

    def test_waits_that_no_client_would_stand(self) -> None:
        # RFC 5321 4.5.3.2
        for key in ("greet_delay", "slow_most"):
            what = 'is not from "0s" to "60s"; clients would not wait for longer'
            self.said(f'limits.{key}: "61s" {what}', limits={key: "61s"})
            self.said(limits={key: "60s"})

    def test_limits(self) -> None:
        self.said("limits.recipients: 0 is too small; write 1 or more", limits={"recipients": 0})
        self.said('limits.command_timeout: "0s" is too small; write "1s" or more', limits={"command_timeout": "0s"})
        self.said("limits: 5 is not a table; write [limits] and its keys below", limits=5)

    def test_queue(self) -> None:
        self.said("queue.retry: is empty; write at least one", queue={"retry": []})
        self.said('queue.retry: has a value that is too small; write "1s" or more', queue={"retry": ["0s"]})
        self.said(
            "queue.jitter: 1 is not a part of one; write a number from 0 to 0.9, such as 0.2", queue={"jitter": 1}
        )

    def test_log_level(self) -> None:
        self.said('log.level: "loud" is not one of its values; write "info" or "debug"', log={"level": "loud"})

    def test_delivery_of_no_type(self) -> None:
        delivery = mapping()["delivery"]
        self.said(
            'delivery.x: type is missing; write type = "discard" or "lmtp" or "maildir" or "pipe" or "smtp"',
            delivery={**delivery, "x": {}},
        )
        self.said(
            'delivery.x.type: there is no delivery of type "smpt"; did you mean "smtp"?',
            delivery={**delivery, "x": {"type": "smpt"}},
        )
        self.said(
            'delivery.x.hots: is not known; did you mean "host"?',
            delivery={**delivery, "x": {"type": "smtp", "hots": "h"}},
        )
        self.said("delivery.x: 5 is not a table; write [delivery.x] and its keys below", delivery={**delivery, "x": 5})
        self.said(
            'delivery."a b": "a b" is not a name; write letters, digits, "_", "-" and ".", at most 64',
            delivery={**delivery, "a b": {"type": "discard"}},
        )

    def test_the_same_domain_twice(self) -> None:
        domains = {"site.com": {"deliver": "local"}, "SITE.com": {"deliver": "local"}}
        self.said('domains."SITE.com": is there already under another spelling; write it once', domains=domains)

    def test_all_at_once_with_contradictions_of_what_is_right(self) -> None:
        self.said(
            "hostname: 5 is not text; write it in quotes",
            "limits.recipients: 0 is too small; write 1 or more",
            'relay.networks[0]: "x" is not a network; write one such as "192.0.2.0/24" or "2001:db8::/32"',
            "route[0].to: is empty; write at least one",
            'relay.networks: "0.0.0.0/0" makes this an open relay: anybody may send anywhere; '
            "name the networks of your own clients",
            'domains."site.com".deliver: there is no [delivery.locl]; did you mean "local"?',
            "route[1].via: there is no [delivery.nowhere]; known are: internet, local",
            hostname=5,
            limits={"recipients": 0},
            relay={"networks": ["x", "0.0.0.0/0"]},
            domains={"site.com": {"deliver": "locl"}},
            route=[{"name": "a", "to": [], "via": "local"}, {"name": "b", "to": "*", "via": "nowhere"}],
        )


class Overrides(SynchronousTestCase):
    def test_an_option_and_one_of_a_named_listener(self) -> None:
        found = Folder(self).load(
            MINIMAL, "limits.recipients=5", "listen.mx.endpoint=tcp:26", 'domains."b.example".deliver=local'
        )
        self.assertEqual(found.limits.recipients, 5)
        self.assertEqual(found.listen[0].endpoint, "tcp:26")
        self.assertEqual(found.domains["b.example"].deliver, "local")

    def test_toml_or_else_text(self) -> None:
        found = Folder(self).load(MINIMAL, 'relay.networks=["192.0.2.0/24"]', "hostname=mx2.site.com")
        self.assertEqual(found.relay.networks, (ip_network("192.0.2.0/24"),))
        self.assertEqual(found.hostname, "mx2.site.com")

    def test_a_path_begins_at_the_current_folder(self) -> None:
        self.assertEqual(Folder(self).load(MINIMAL, "state=here").state, os.path.join(os.getcwd(), "here"))

    def test_wrong_ones(self) -> None:
        problems = Folder(self).problems(
            MINIMAL,
            "nothing",
            "listen.mxx.endpoint=tcp:1",
            "format.x=1",
            "a b=1",
            "limits.recipients=many",
            "x=1\ny=2",
        )
        known = sorted(field.name for field in option_fields(Configuration))
        self.assertEqual(
            problems,
            [
                "--set: nothing: is not KEY=VALUE; write one such as limits.recipients=100",
                '--set: listen.mxx: there is no listen of that name; did you mean "mx"?',
                "--set: format.x: format is not a table; name another key",
                "--set: a b=1: is not KEY=VALUE; write one such as limits.recipients=100",
                '--set: limits.recipients: "many" is not a whole number; write a number without quotes, such as 100',
                f"--set: x: is not known; known are: {', '.join(known)}",
            ],
        )


class SecretOptions(Options):
    """For the tests of secrets."""

    password: Secret = option(doc="A secret.", check=lambda value: "is too short" if len(value) < 3 else None)


@provider("delivery", "secretive", SecretOptions)
class Secretive:
    def __init__(self, options: SecretOptions, services: Services) -> None:
        self.options = options


class Secrets(SynchronousTestCase):
    """A secret may stand in the configuration, or where it does not get into backups and listings."""

    def setUp(self) -> None:
        self.folder = Folder(self)
        self.providers = Providers([*Providers.find().all(), Secretive])

    def text(self, written: str) -> str:
        return f'{MINIMAL}[delivery.x]\ntype = "secretive"\npassword = {written}\n'

    def secret(self, written: str, **environ: str) -> str:
        found = self.folder.load(self.text(written), providers=self.providers, environ=environ)
        options: Any = found.delivery["x"].options
        self.assertEqual(dict(found.items())["delivery.x.password"], '"(secret)"')
        password: str = options.password
        return password

    def wrong(self, written: str, **environ: str) -> str:
        (problem,) = self.folder.problems(self.text(written), providers=self.providers, environ=environ)
        return problem.removeprefix("mta.toml: delivery.x.password: ")

    def test_where_it_may_stand(self) -> None:
        self.folder.write("key", "hush hush\n", 0o600)
        self.assertEqual(self.secret('"hush"'), "hush")
        self.assertEqual(self.secret('{ file = "key" }'), "hush hush")
        self.assertEqual(self.secret('{ env = "WORD" }', WORD="hush"), "hush")
        self.assertEqual(self.secret('{ credential = "key" }', CREDENTIALS_DIRECTORY=self.folder.path), "hush hush")

    def test_what_is_said(self) -> None:
        forms = 'is not a secret; write { file = "..." }, { env = "..." } or { credential = "..." }'
        self.assertEqual(self.wrong("5"), 'is not a secret; write text in quotes, or { file = "..." }')
        self.assertEqual(self.wrong("{ flie = 'x' }"), forms)
        self.assertEqual(self.wrong("{ env = 'X' }"), "there is no X in the environment; set it, or name another")
        self.assertEqual(
            self.wrong("{ credential = 'x' }"),
            "systemd gave no credentials; write LoadCredential= in the unit, or use { file = ... }",
        )
        self.assertEqual(
            self.wrong("{ file = 'none' }"),
            "none cannot be read: No such file or directory; correct the path or its permissions",
        )

    def test_it_is_not_shown_where_it_is_wrong(self) -> None:
        self.assertEqual(self.wrong('"ab"'), "the secret is too short")

    def test_a_file_that_anybody_may_write_is_refused(self) -> None:
        self.folder.write("key", "hush", 0o666)
        self.assertEqual(self.wrong("{ file = 'key' }"), "key anybody may write to it; run: chmod o-w key")

    def test_a_file_that_anybody_may_read_is_refused(self) -> None:
        self.folder.write("key", "hush", 0o644)
        self.assertEqual(self.wrong("{ file = 'key' }"), "key may be read by anybody; run: chmod o= key")

    def test_the_fingerprint_does_not_tell_it(self) -> None:
        prints = {
            self.folder.load(self.text(written), providers=self.providers).fingerprint
            for written in ('"first"', '"second"')
        }
        self.assertEqual(len(prints), 1)


class Mappings(SynchronousTestCase):
    def test_relative_paths_begin_at_the_folder_that_is_given(self) -> None:
        self.assertEqual(from_mapping(mapping(), "/srv/etc").state, "/srv/etc/var")

    def test_a_missing_file(self) -> None:
        error = self.assertRaises(ConfigurationError, load, "/nowhere/mta.toml")
        said = "/nowhere/mta.toml: cannot be read: No such file or directory; correct the path or its permissions"
        self.assertEqual(str(error), said)
