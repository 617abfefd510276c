"""What concerns more than one option: names, tables, aliases, open relays, and whether the postmaster gets his mail."""

from __future__ import annotations

import os

from config_cases import MINIMAL, Folder, mapping, problems_of
from twisted.trial.unittest import SynchronousTestCase


class Checked(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Folder(self)

    def said(self, text: str, *said: str) -> None:
        self.assertEqual(self.folder.problems(text), [f"mta.toml: {one}" for one in said])

    def domain(self, *lines: str, more: str = "") -> str:
        """The small configuration, with other lines in its domain."""
        return MINIMAL.replace('deliver = "local"', "\n".join(lines)) + more


class Domains(Checked):
    def test_a_domain_of_another_kind_is_nothing_else(self) -> None:
        more = '[domains."b.example"]\n{}\n'
        for lines, said in (
            ('alias_of = "site.com"\nrelay = true', "relay: a domain with alias_of is nothing else"),
            ('null = true\ndeliver = "local"', "deliver: a domain with null has no mailboxes, aliases or recipients"),
            ('null = true\nalias_of = "site.com"', "null: a domain with alias_of is nothing else"),
        ):
            said = f'domains."b.example".{said}; leave out one of them'
            self.said(self.domain('deliver = "local"', more=more.format(lines)), said)
        for lines in ('alias_of = "site.com"', "null = true"):
            self.said(self.domain('deliver = "local"', more=more.format(lines)))

    def test_the_domain_that_another_is_a_name_of(self) -> None:
        more = '[domains."b.example"]\nalias_of = "{}"\n[domains."c.example"]\nnull = true\n'
        for name, said in (
            ("b.example", "a domain cannot be another name of itself; name another of [domains.X]"),
            ("c.example", "c.example has no mailboxes of its own"),
            ("sitr.com", 'there is no [domains."sitr.com"]; did you mean "site.com"?'),
        ):
            self.said(self.domain('deliver = "local"', more=more.format(name)), f'domains."b.example".alias_of: {said}')

    def test_a_catch_all_that_catches_nothing(self) -> None:
        self.folder.write("users", "postmaster\n")
        ours = ('deliver = "local"', 'mailboxes = "file:users"')
        key = 'domains."site.com".catch_all'
        missing = f'{key}: "bob@site.com" is neither a mailbox nor an alias; add it, or name another'
        self.said(self.domain(*ours, 'catch_all = "bob@site.com"'), missing)
        self.said(self.domain(*ours, 'catch_all = "postmaster@site.com"'))
        self.said(self.domain(*ours, 'catch_all = "x@far.example"'))
        self.said(
            self.domain('deliver = "local"', 'catch_all = "x@far.example"'),
            f"{key}: every address of the domain exists, since no table says which mailboxes there are; "
            "write mailboxes = ... or leave it out",
        )

    def test_values_of_those_who_moved_and_of_services(self) -> None:
        self.folder.write("moved", "ann: ann@new.example; reply=251\nbob: reply=251\n")
        self.folder.write("services", "ann: locl\n")
        self.folder.write("quota", "ann: 2GiB\nbob: full\neve: 2G\n")
        ours = ('deliver = "local"', 'moved = "file:moved"', 'services = "file:services"', 'quota = "file:quota"')
        self.said(
            self.domain(*ours),
            'domains."site.com".moved: moved: bob: 251 needs the new address, in front of all else',
            'domains."site.com".services: services: ann: there is no [delivery.locl]; did you mean "local"?',
            'domains."site.com".quota: quota: eve: "2G" is not a size; write a number and a unit '
            '(B, KiB, MiB, GiB, TiB), such as "50MiB", or full',
        )

    def test_separators(self) -> None:
        said = 'is not made of separators; write some of "+-=_#~", each once, or "" for none'
        self.said(self.domain('deliver = "local"', 'separators = "+."'), f'domains."site.com".separators: "+." {said}')

    def test_relayed_domains_have_no_mailboxes(self) -> None:
        domains = {**mapping()["domains"], "b.example": {"relay": True, "mailboxes": "file:x", "aliases": "file:y"}}
        what = "a domain that is relayed has no mailboxes or aliases here; leave out this key or relay = true"
        self.assertEqual(
            problems_of({**mapping(), "domains": domains})[:2],
            [f'domains."b.example".mailboxes: {what}', f'domains."b.example".aliases: {what}'],
        )

    def test_a_domain_that_mail_does_not_get_out_of(self) -> None:
        for table in ({}, {"relay": False}):
            said = (
                'domains."b.example": deliver is missing; write deliver = "internet" or "local", '
                "or relay = true if it is not ours"
            )
            domains = {**mapping()["domains"], "b.example": table}
            self.assertEqual(problems_of({**mapping(), "domains": domains}), [said])

    def test_recipients_are_for_relayed_domains(self) -> None:
        self.folder.write("users", "postmaster\n")
        what = "is for domains with relay = true; write mailboxes = ... or add relay = true"
        self.said(
            self.domain('deliver = "local"', 'recipients = "file:users"'), f'domains."site.com".recipients: {what}'
        )

    def test_right_ones(self) -> None:
        self.folder.write("aliases", "info: ann@other.example\n")
        self.folder.write("customers", "ann@b.example\n")
        more = (
            '[domains."b.example"]\nrelay = true\nrecipients = "file:customers"\n'
            '[domains."c.example"]\naliases = "file:aliases"\n'  # a domain of aliases alone has no mailboxes
        )
        self.said(self.domain('deliver = "local"', more=more))


class Names(Checked):
    def test_delivery_services(self) -> None:
        more = (
            '[[route]]\nname = "a"\nto = "a.example"\nvia = "locl"\n'
            '[domains."b.example"]\nrelay = true\ndeliver = "out"\n'
        )
        self.said(
            MINIMAL + more,
            'domains."b.example".deliver: there is no [delivery.out]; known are: internet, local',
            'route[0].via: there is no [delivery.locl]; did you mean "local"?',
        )

    def test_a_service_with_a_mistake_within_is_there(self) -> None:
        self.said(
            MINIMAL.replace('type = "maildir"', 'type = "maildri"'),
            'delivery.local.type: there is no delivery of type "maildri"; did you mean "maildir"?',
        )

    def test_the_way_out_for_all_other_domains(self) -> None:
        self.said(
            MINIMAL.replace("internet", "intenet"),
            "delivery: internet is missing: mail for all other domains has no way out; "
            'write [delivery.internet] and type = "smtp"',
        )

    def test_two_routes_of_one_name(self) -> None:
        route = '[[route]]\nname = "a"\nto = "a.example"\nvia = "local"\n'
        what = '"a" is the name of 2 of them; give each a name of its own'
        self.said(MINIMAL + route + route, f"route[0].name: {what}", f"route[1].name: {what}")

    def test_patterns(self) -> None:
        self.said(
            MINIMAL + '[[route]]\nname = "a"\nto = ["a.*.example", "ann@a.example"]\nvia = "local"\n',
            'route[0].to[0]: "a.*.example" is not a pattern: the domain has a wrong character or a wrong length; '
            'write "example.org", "*.example.org" or "*"',
            'route[0].to[1]: "ann@a.example" is not a pattern: the domain has a wrong character or a wrong length; '
            'write "example.org", "*.example.org" or "*"',
        )

    def test_tables(self) -> None:
        self.folder.write("users", "postmaster\n")
        self.said(
            self.domain(
                'deliver = "local"',
                'mailboxes = "table:usres"',
                more='[tables.users]\ntype = "file"\npath = "users"\n',
            ),
            'domains."site.com".mailboxes: there is no [tables.usres]; did you mean "users"?',
        )


class OpenRelay(Checked):
    def test_all_the_world(self) -> None:
        what = "makes this an open relay: anybody may send anywhere; name the networks of your own clients"
        self.said(
            MINIMAL + '[relay]\nnetworks = ["0.0.0.0/0", "::/0"]\n',
            f'relay.networks: "0.0.0.0/0" {what}',
            f'relay.networks: "::/0" {what}',
        )
        self.said(
            MINIMAL + '[relay]\nnetworks = ["0.0.0.0/1", "192.0.2.0/24", "128.0.0.0/1"]\n',
            f'relay.networks: "0.0.0.0/0" {what}',
        )

    def test_all_the_world_as_proxies(self) -> None:
        what = "makes this an open relay: anybody may say that he is a client of yours; name your own proxies alone"
        listen = '[[listen]]\nname = "b"\nendpoint = "tcp:26"\n'
        self.said(
            f'{MINIMAL}{listen}proxy = ["0.0.0.0/0"]\nxclient = ["::/1", "8000::/1"]\nxforward = ["::/0"]\n',
            f'listen[1].proxy: "0.0.0.0/0" {what}',
            f'listen[1].xclient: "::/0" {what}',
        )


class TableFiles(Checked):
    def test_a_missing_one(self) -> None:
        self.said(
            self.domain('deliver = "local"', 'mailboxes = "file:users"'),
            'domains."site.com".mailboxes: users cannot be read: No such file or directory; '
            "correct the path, or make the file; it may be empty",
        )

    def test_a_wrong_line(self) -> None:
        self.folder.write("users", "postmaster\nann bob\n")
        self.said(
            self.domain('deliver = "local"', 'mailboxes = "table:users"')
            + '[tables.users]\ntype = "file"\npath = "users"\n',
            'tables.users.path: users:2: "ann bob" is not "key: value" nor a single key; correct the file',
        )

    def test_one_of_two_domains_is_told_once(self) -> None:
        self.folder.write("users", "a\na\n")
        self.said(
            self.domain('deliver = "local"', 'mailboxes = "file:users"')
            + '[domains."b.example"]\ndeliver = "local"\nmailboxes = "file:users"\n',
            'domains."site.com".mailboxes: users:2: the key a stands already in line 1; correct the file',
        )

    def test_a_table_that_nothing_names_is_read_too(self) -> None:
        self.folder.write("users", b"\xff\n")
        self.said(
            MINIMAL + '[tables.users]\ntype = "file"\npath = "users"\n',
            "tables.users.path: users:1: the text is not UTF-8; correct the file",
        )


class Aliases(Checked):
    def test_each_wrong_target_of_a_file_and_of_a_table(self) -> None:
        self.folder.write("aliases", "info: |/bin/run\nteam: ann, :error:x\nfile: /dev/null\ngood: ann\n")
        places = "commands and files need a table of type file with commands = true"
        said = [
            f'domains."site.com".aliases: aliases: info: target |/bin/run: {places}',
            'domains."site.com".aliases: aliases: team: target :error:x: of what begins with a colon there is '
            ":include: alone",
            f'domains."site.com".aliases: aliases: file: target /dev/null: {places}',
        ]
        self.said(self.domain('deliver = "local"', 'aliases = "file:aliases"'), *said)
        table = '[tables.names]\ntype = "file"\npath = "aliases"\n'
        self.said(self.domain('deliver = "local"', 'aliases = "table:names"', more=table), *said)

    def test_commands_where_the_table_may_have_them(self) -> None:
        self.folder.write("aliases", "info: |/bin/run\nfile: /var/mail/all\nwrong: |run\n")
        table = '[tables.names]\ntype = "file"\npath = "aliases"\ncommands = true\n'
        self.said(
            self.domain('deliver = "local"', 'aliases = "table:names"', more=table),
            'domains."site.com".aliases: aliases: wrong: target |run: the command\'s program needs its whole path',
        )

    def test_a_table_with_commands_that_others_may_write(self) -> None:
        self.folder.write("aliases", "info: |/bin/run\n", mode=0o664)
        table = '[tables.names]\ntype = "file"\npath = "aliases"\ncommands = true\n'
        problems = self.folder.problems(self.domain('deliver = "local"', 'aliases = "table:names"', more=table))
        self.assertIn("tables.names", problems[0])
        self.assertIn("its group or anybody may write to it", problems[0])

    def test_very_many_are_cut_short(self) -> None:
        self.folder.write("aliases", "".join(f"a{number}: |x\n" for number in range(1000)))
        self.assertEqual(len(self.folder.problems(self.domain('deliver = "local"', 'aliases = "file:aliases"'))), 20)

    def test_an_alias_without_target(self) -> None:
        self.folder.write("aliases", "info\n")
        self.said(
            self.domain('deliver = "local"', 'aliases = "file:aliases"'),
            'domains."site.com".aliases: aliases: info: no target',
        )


class Postmaster(Checked):
    """RFC 5321 4.5.1: mail to postmaster must arrive."""

    def reaches_nothing(self, text: str, why: str, who: str = "postmaster@site.com") -> None:
        self.said(text, f'postmaster: "{who}" reaches no mailbox: {why}; add it, or name another')

    def test_not_among_the_mailboxes(self) -> None:
        users = self.folder.write("users", "ann\n")
        self.reaches_nothing(
            self.domain('deliver = "local"', 'mailboxes = "file:users"'),
            f"postmaster@site.com is not in file:{users}".replace(f"{self.folder.path}/", ""),
        )

    def test_among_the_mailboxes_in_any_case_with_or_without_domain(self) -> None:
        for line in ("postmaster", "PostMaster@site.com"):
            self.folder.write("users", f"{line}\n")
            self.said(self.domain('deliver = "local"', 'mailboxes = "file:users"'))

    def test_an_alias_that_leads_somewhere(self) -> None:
        self.folder.write("users", "ann\n")
        for target in ("ann", "nobody, ann", "hostmaster@elsewhere.example", "root"):
            self.folder.write("aliases", f"postmaster: {target}\nroot: ann\n")
            self.said(self.domain('deliver = "local"', 'mailboxes = "file:users"', 'aliases = "file:aliases"'))

    def test_an_alias_that_leads_nowhere(self) -> None:
        users = self.folder.write("users", "ann\n")
        self.folder.write("aliases", "postmaster: root, admin\n")
        self.reaches_nothing(
            self.domain('deliver = "local"', 'mailboxes = "file:users"', 'aliases = "file:aliases"'),
            f"root@site.com is not in file:{users}; admin@site.com is not in file:{users}".replace(
                f"{self.folder.path}/", ""
            ),
        )

    def test_a_circle(self) -> None:
        self.folder.write("users", "ann\n")
        self.folder.write("aliases", "postmaster: root\nroot: postmaster\n")
        problems = self.folder.problems(
            self.domain('deliver = "local"', 'mailboxes = "file:users"', 'aliases = "file:aliases"')
        )
        self.assertEqual(len(problems), 1)
        self.assertIn('postmaster: "postmaster@site.com" reaches no mailbox: ', problems[0])

    def test_a_domain_of_others(self) -> None:
        text = MINIMAL.replace('"postmaster@site.com"', '"root@other.example"')
        who = "root@other.example"
        self.reaches_nothing(text, "other.example is none of [domains.X], and no [[route]] names it", who)
        route = '[[route]]\nname = "a"\nto = "{}"\nvia = "internet"\n'
        self.said(text + route.format("other.example"))
        # A route for everything says nothing of this domain.
        self.reaches_nothing(
            text + route.format("*"), "other.example is none of [domains.X], and no [[route]] names it", who
        )

    def test_every_address_exists_where_no_table_says_otherwise(self) -> None:
        self.said(MINIMAL.replace('"postmaster@site.com"', '"Anybody@SITE.com"'))

    def test_a_mistake_that_it_hangs_on_is_told_alone(self) -> None:
        self.said(
            MINIMAL.replace('deliver = "local"', "deliver = 5"),
            'domains."site.com".deliver: 5 is not text; write it in quotes',
        )
        domains = {"postmaster": "postmaster@site.com", "domains": 5}
        self.assertEqual(
            problems_of({**mapping(), **domains}),
            ["domains: 5 is not a table of named tables; write [domains.NAME] for each"],
        )


class Language(Checked):
    def test_of_reports(self) -> None:
        self.said(MINIMAL + '[reports]\nlanguage = "fr"\n')
        self.said(MINIMAL + '[reports]\nlanguage = ["fr", "de"]\n')
        what = 'has "fi", for which there are no texts; write "de" or "en" or "es" or "fr" or "zh"'
        self.said(MINIMAL + '[reports]\nlanguage = ["fr", "fi"]\n', f"reports.language: {what}")
        self.said(MINIMAL + "[reports]\nlanguage = []\n", "reports.language: is empty; write " + what[-36:])

    def test_texts_of_the_sites_own(self) -> None:
        folder = os.path.abspath(self.mktemp())
        chosen = MINIMAL + f'[reports]\nlanguage = ["fi", "de"]\ntexts = "{folder}"\n'
        missing = f"{folder} cannot be read: No such file or directory"
        self.said(chosen, f"reports.texts: {missing}; correct the path, or make the folder")
        os.makedirs(folder)
        file = os.path.join(folder, "fi.toml")
        with open(file, "w", encoding="utf-8") as stream:
            stream.write('[language]\nname = "Suomi"\ntag = "fi"\n[good]\nnothing = "Ei mit\xe4\xe4n."\n')
        self.said(chosen)
        with open(file, "a", encoding="utf-8") as stream:
            stream.write('none = "x"\n')
        self.said(chosen, f"reports.language: cannot be used: {file}: good.none is not known; correct the file")
        os.chmod(file, 0o666)
        self.said(chosen, f"reports.texts: {file}: anybody may write to it; run: chmod o-w {file}")
