"""Each kind of value: what is read, and what is said of what cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.config import values
from mta.config.endpoint import endpoint, with_backlog
from mta.config.problems import Wrong, show
from mta.config.values import show_duration, show_size


class Reading(SynchronousTestCase):
    """What stands in the file, and the value."""

    def read(self, reader: Callable[..., Any], table: dict[Any, Any], *more: Any) -> None:
        for written, value in table.items():
            self.assertEqual(reader(written, *more), value, written)

    def test_durations(self) -> None:
        table = {"90s": 90, "5m": 300, "4h": 14400, "5d": 432000, "1w": 604800, "1h30m": 5400, "250ms": 0.25}
        self.read(values.duration, {**table, "0s": 0, "1.5h": 5400})

    def test_sizes(self) -> None:
        self.read(values.size, {"512B": 512, "512KiB": 524288, "50 MiB": 52428800, "1.5KiB": 1536, "1GiB": 1 << 30})

    def test_paths_begin_at_the_folder_of_the_file(self) -> None:
        self.read(values.path, {"../var": "/srv/var", "x/{domain}": "/srv/etc/x/{domain}", "/a": "/a"}, "/srv/etc")

    def test_tables(self) -> None:
        table = {"file:users": "file:/etc/mta/users", "file:/x": "file:/x", "table:users": "table:users"}
        self.read(values.table_name, table, "/etc/mta")

    def test_domains_are_a_labels(self) -> None:
        self.read(values.domain, {"Example.ORG.": "example.org", "bücher.example": "xn--bcher-kva.example"})
        self.read(values.domain_pattern, {"*": "*", "*.Example.org": "*.example.org", "a.example": "a.example"})

    def test_networks(self) -> None:
        for text in ("192.0.2.0/24", "2001:db8::/32", "::1/128"):
            self.assertEqual(str(values.network(text)), text)
        self.assertEqual(str(values.network("192.0.2.7")), "192.0.2.7/32")

    def test_servers(self) -> None:
        table = {
            "192.0.2.1": ("192.0.2.1", 53),
            "192.0.2.1:5353": ("192.0.2.1", 5353),
            "2001:db8::1": ("2001:db8::1", 53),
            "[2001:db8::1]:54": ("2001:db8::1", 54),
            "[2001:db8::1]": ("2001:db8::1", 53),
        }
        self.read(values.server, table)

    def test_endpoints(self) -> None:
        table = {
            "tcp:25": "tcp:25",
            "tcp:2525:interface=127.0.0.1": "tcp:2525:interface=127.0.0.1",
            "tcp:port=25:backlog=200": "tcp:port=25:backlog=200",
            r"tcp6:25:interface=\:\:1": r"tcp6:25:interface=\:\:1",
            "unix:../run/mx.sock:mode=600": "unix:/srv/run/mx.sock:mode=600",
            "unix:../run/mx.sock": "unix:/srv/run/mx.sock:mode=660",
            "systemd:domain=INET:name=mx": "systemd:domain=INET:name=mx",
        }
        self.read(endpoint, table, "/srv/etc")

    @settings(deadline=None)
    @given(st.integers(0, 36525 * 86400 * 1000), st.integers(0, 1 << 60))
    def test_what_is_shown_can_be_written(self, milliseconds: int, octets: int) -> None:
        self.assertLess(abs(values.duration(show_duration(milliseconds / 1000)) - milliseconds / 1000), 1e-5)
        self.assertEqual(values.size(show_size(octets)), octets)


class Refusing(SynchronousTestCase):
    """What stands in the file, and what is said."""

    def refuse(self, reader: Callable[..., Any], table: dict[Any, str], *more: Any) -> None:
        for written, said in table.items():
            wrong = self.assertRaises(Wrong, reader, written, *more)
            self.assertEqual(f"{wrong.what}; {wrong.instead}", said)

    def test_durations_without_unit(self) -> None:
        units = "ms, s, m, h, d, w"
        self.refuse(
            values.duration,
            {
                90: f'90 has no unit; write text with a unit ({units}), such as "90s" or "5m"',
                "90": f'"90" is not a duration; write a number and a unit ({units}), such as "5m"',
                "5 minutes": f'"5 minutes" is not a duration; write a number and a unit ({units}), such as "5m"',
                True: f'true is not a duration; write a number and a unit ({units}), such as "5m"',
            },
        )

    def test_sizes_without_unit(self) -> None:
        units = "B, KiB, MiB, GiB, TiB"
        self.refuse(
            values.size,
            {
                50: f'50 has no unit; write text with a unit ({units}), such as "50MiB"',
                "50MB": f'"50MB" is not a size; write a number and a unit ({units}), such as "50MiB"',
            },
        )

    def test_beyond_all_measure(self) -> None:
        self.refuse(values.duration, {"36526d": '"36526d" is over a hundred years; write a shorter one'})
        self.refuse(values.size, {"1048577TiB": '"1048577TiB" is more than any machine has; write a smaller one'})

    def test_simple_types(self) -> None:
        self.refuse(values.text, {5: "5 is not text; write it in quotes", "a\0": "has a NUL character; leave it out"})
        self.refuse(values.text, {"\udc80": "has characters that are not Unicode text; write UTF-8"})
        self.refuse(values.boolean, {"yes": '"yes" is neither true nor false; write true or false, without quotes'})
        self.refuse(values.integer, {"5": '"5" is not a whole number; write a number without quotes, such as 100'})
        self.refuse(values.integer, {1 << 70: "the number is too large; write one below 2^63"})
        self.refuse(values.number, {float("nan"): "NaN is not a finite number; write a number such as 0.5"})
        self.refuse(values.name, {"a b": '"a b" is not a name; write letters, digits, "_", "-" and ".", at most 64'})

    def test_tables(self) -> None:
        self.refuse(
            values.table_name,
            {
                "users": '"users" is not a table; write "file:users" or "table:users"',
                "files:users": '"files:users" is not a table; write "file:users" or "table:users"',
            },
            "/etc/mta",
        )

    def test_domains_and_addresses(self) -> None:
        self.refuse(values.domain, {"": '"" is not a domain: the domain is empty; write one such as "example.org"'})
        self.refuse(
            values.domain_pattern,
            {
                "a.*.example": '"a.*.example" is not a pattern: the domain has a wrong character or a wrong length; '
                'write "example.org", "*.example.org" or "*"'
            },
        )
        self.refuse(
            values.address,
            {"root": '"root": the address has no domain; write one such as "postmaster@example.org"'},
        )

    def test_networks(self) -> None:
        self.refuse(
            values.network,
            {
                "192.0.2.7/24": '"192.0.2.7/24" is not a network; write "192.0.2.0/24", or the address alone',
                "here": '"here" is not a network; write one such as "192.0.2.0/24" or "2001:db8::/32"',
            },
        )

    def test_servers(self) -> None:
        for text in ("dns.example", "192.0.2.1:0", "192.0.2.1:99999", "[::1", "[::1]53", ""):
            said = f'"{text}" is not an address of a server; write "192.0.2.1:53" or "[2001:db8::1]:53"'
            self.refuse(values.server, {text: said})

    def test_room_for_a_burst_of_connections(self) -> None:
        for written, opened in {
            "tcp:25": "tcp:25:backlog=1024",
            "tcp:port=25:interface=127.0.0.1": "tcp:port=25:interface=127.0.0.1:backlog=1024",
            "tcp:25:backlog=9": "tcp:25:backlog=9",
            "tcp6:25:9": "tcp6:25:9",
            "unix:/run/mx.sock:mode=660": "unix:/run/mx.sock:mode=660:backlog=1024",
            "systemd:domain=INET:name=mx": "systemd:domain=INET:name=mx",
        }.items():
            self.assertEqual(with_backlog(written), opened)

    def test_endpoints_that_believe_anybody_or_hide_tls(self) -> None:
        proxy = "the header of a PROXY is believed only from peers that the key names"
        self.refuse(
            endpoint,
            {
                "haproxy:tcp:25": f'"haproxy:tcp:25" is not a plain endpoint: that is what the key "proxy" is for '
                f'({proxy}); write "tcp:..." here and the key "proxy" beside it',
                "ssl:465": '"ssl:465" is not a plain endpoint: that is what the key "tls" is for '
                '(TLS belongs to the session); write "tcp:..." here and the key "tls" beside it',
            },
            "/",
        )

    def test_endpoints(self) -> None:
        kinds = "(tcp, tcp6, unix, systemd)"
        for text, said in {
            "stdio:": f'"stdio:" is not an endpoint of a known kind {kinds}; write one such as "tcp:25"',
            "": f'"" is not an endpoint of a known kind {kinds}; write one such as "tcp:25"',
            "25": f'"25" is not an endpoint of a known kind {kinds}; write one such as "tcp:25"',
            "a=b": '"a=b" does not begin with its kind; write one such as "tcp:25"',
            "tcp": '"tcp" names no port; write one such as "tcp:25"',
            "tcp:smtp": 'the port of "tcp:smtp" is not a number up to 65535; write one such as "tcp:25"',
            "tcp:99999": 'the port of "tcp:99999" is not a number up to 65535; write one such as "tcp:25"',
            "tcp:25:interface=lo": 'the interface of "tcp:25:interface=lo" is not an IP address; '
            'write "tcp:25:interface=192.0.2.1"',
            "tcp6:25:interface=::1": '"tcp6:25:interface=::1" has too many parts; '
            r"write \: for each colon in an address: 'tcp6:25:interface=\:\:1'",
            "tcp:25:iface=1": '"iface" of "tcp:25:iface=1" is not known; tcp takes: port, interface, backlog',
            "tcp:25:port=26": '"port" of "tcp:25:port=26" is given twice; tcp takes: port, interface, backlog',
            "tcp:port=1:port=2": '"port" stands twice in "tcp:port=1:port=2"; write it once',
            "unix:": '"unix:" names no path; write "unix:/run/mta/mx.sock"',
            "unix:x:mode=rw": 'the mode of "unix:x:mode=rw" is not octal; write "unix:/run/mta/mx.sock:mode=660"',
            "systemd:domain=INET": '"systemd:domain=INET" does not name a family (INET, INET6, UNIX) and one of index '
            'and name; write "systemd:domain=INET:name=mx"',
        }.items():
            self.refuse(endpoint, {text: said}, "/")

    @settings(deadline=None)
    @given(st.text(alphabet="tcpunix:=\\65a.", max_size=30))
    def test_no_endpoint_breaks_the_reader(self, text: str) -> None:
        for written in (text, f"tcp:{text}", f"unix:{text}", f"systemd:{text}"):
            try:
                endpoint(written, "/")
            except Wrong as wrong:
                self.assertTrue(wrong.what)

    def test_a_long_value_is_cut(self) -> None:
        self.assertEqual(len(show("x" * 1000)), 80)
