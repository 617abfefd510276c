"""What is no mistake but hardly meant: each warning with its key path and what to write instead."""

from __future__ import annotations

from config_cases import MINIMAL, Folder
from twisted.trial.unittest import SynchronousTestCase

from mta.config.endpoint import clash, endpoint

SMART = '[delivery.smart]\ntype = "smtp"\nhost = "{host}"\nuser = "u"\npassword = "p"\nauth_in_clear = true\n'
VIA = '[[route]]\nname = "a"\nto = ["{to}"]\nvia = "{via}"\n'


class Warned(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Folder(self)

    def warned(self, text: str, *said: str) -> None:
        """One warning for each text, which it begins with."""
        found = [str(one).partition("mta.toml: ")[2] for one in self.folder.load(text).warnings]
        self.assertEqual(len(found), len(said), found)
        for one, begins in zip(found, said, strict=True):
            self.assertTrue(one.startswith(begins), one)
            self.assertIn("; ", one)  # what to write instead

    def test_nothing_to_say(self) -> None:
        self.warned(MINIMAL)

    def test_ports_that_have_their_own_way(self) -> None:
        # RFC 8314 3
        self.warned(
            MINIMAL.replace('"tcp:2525"', '"tcp:25"\ntls = "implicit"'), "listen[0].tls: other hosts begin in clear"
        )
        self.warned(MINIMAL.replace('"tcp:2525"', '"tcp:465"'), 'listen[0].tls: "starttls" on port 465')
        self.warned(MINIMAL.replace('"tcp:2525"', '"tcp:465"\ntls = "implicit"'))

    def test_a_listener_where_nobody_can_log_in(self) -> None:
        listener = MINIMAL.replace('"tcp:2525"', '"tcp:587"\nservice = "submission"').replace('service = "mx"\n', "")
        self.warned(listener, "listen[0].service: nobody can send there: there are no accounts; write [accounts.main]")
        self.warned(listener.replace("\nservice", '\nxclient = ["192.0.2.1"]\nservice'))

    def test_a_route_that_takes_our_own_mail(self) -> None:
        told = 'route[0].to: takes the mail of site.com too, whose deliver = "local" then never counts'
        self.warned(MINIMAL + VIA.format(to="*", via="internet"), told)
        self.warned(MINIMAL + VIA.format(to="site.com", via="internet"), told)
        self.warned(MINIMAL + VIA.format(to="other.example", via="internet"))
        self.warned(MINIMAL + VIA.format(to="*", via="local"))
        before = VIA.format(to="site.com", via="local") + VIA.format(to="*", via="internet").replace('"a"', '"b"')
        self.warned(MINIMAL + before)

    def test_a_login_that_never_comes(self) -> None:
        for host in ("127.0.0.1", "localhost", "::1"):
            self.warned(MINIMAL + SMART.format(host=host) + VIA.format(to="b.example", via="smart"))
        self.warned(
            MINIMAL + SMART.format(host="smtp.far.example") + VIA.format(to="b.example", via="smart"),
            "delivery.smart.auth_in_clear: smtp.far.example is not on this machine",
        )

    def test_tries_and_warnings_after_the_end(self) -> None:
        self.warned(
            MINIMAL + '[queue]\nretry = ["1d", "3d", "2d"]\nwarn_after = ["4h", "6d"]\n',
            "queue.retry: wait 3 ends after 6d, and mail is given up after 5d",
            "queue.warn_after: 6d is never reached",
        )
        self.warned(
            MINIMAL + '[[retry]]\nafter = ["3h"]\nwarn_after = ["1d"]\nexpire_after = "2h"\n',
            "retry[0].after: wait 1 ends after 3h, and mail is given up after 2h",
            "retry[0].warn_after: 1d is never reached",
        )
        self.warned(MINIMAL + '[queue]\nretry = ["1d"]\n[[retry]]\nafter = ["1h"]\n')

    def test_what_nothing_leads_to(self) -> None:
        self.folder.write("plans")
        table = '[tables.plans]\ntype = "file"\npath = "plans"\n'
        self.warned(MINIMAL + table, "tables.plans: nothing looks it up")
        self.warned(
            MINIMAL.replace("[domains", table + "[domains") + '[domains."b.example"]\naliases = "table:plans"\n'
        )
        self.warned(MINIMAL + '[delivery.idle]\ntype = "smtp"\n', "delivery.idle: no domain and no route leads there")


class Clash(SynchronousTestCase):
    def clashes(self, one: str, other: str, dual: bool = True) -> bool:
        first, second = endpoint(one, "/srv"), endpoint(other, "/srv")
        found = bool(clash(first, second, dual))
        self.assertEqual(bool(clash(second, first, dual)), found)
        return found

    def test_those_that_do(self) -> None:
        for one, other in (
            ("tcp:25", "tcp:25"),
            ("tcp:25", "tcp:025"),
            ("tcp:25", "tcp:port=25:interface=0.0.0.0"),
            ("tcp:25", "tcp:25:interface=127.0.0.1"),
            ("tcp6:25", r"tcp6:25:interface=\:\:1"),
            ("tcp6:25", r"tcp:25:interface=\:\:1"),
            ("tcp6:25", "tcp:25"),
            ("tcp6:25", "tcp:25:interface=127.0.0.1"),
            ("unix:mx.sock", "unix:/srv/mx.sock:mode=600"),
        ):
            self.assertTrue(self.clashes(one, other), (one, other))

    def test_those_that_do_not(self) -> None:
        for one, other in (
            ("tcp:25", "tcp:26"),
            ("tcp:25:interface=192.0.2.1", "tcp:25:interface=192.0.2.2"),
            ("tcp:25", r"tcp6:25:interface=\:\:1"),
            ("tcp:0", "tcp:0"),
            ("unix:a", "unix:b"),
            ("systemd:domain=INET:index=0", "systemd:domain=INET:index=1"),
            ("unix:/tcp", "tcp:25"),
        ):
            self.assertFalse(self.clashes(one, other), (one, other))

    def test_where_ipv6_keeps_to_itself(self) -> None:
        # ipv6(7): net.ipv6.bindv6only
        self.assertFalse(self.clashes("tcp6:25", "tcp:25", dual=False))

    def test_told(self) -> None:
        folder = Folder(self)
        more = '[[listen]]\nname = "local"\nendpoint = "tcp:2525:interface=127.0.0.1"\n'
        (said,) = folder.problems(MINIMAL + more)
        self.assertIn('listen[1].endpoint: "tcp:2525:interface=127.0.0.1" is where the listener "mx" is', said)
