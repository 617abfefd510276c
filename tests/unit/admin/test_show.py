"""How things look on a terminal."""

from twisted.trial.unittest import SynchronousTestCase

from mta.admin import show


class Show(SynchronousTestCase):
    def test_age(self) -> None:
        for ms, text in ((0, "0s"), (59_999, "59s"), (61_000, "1m01s"), (3 * 3_600_000, "3h00m"), (-5, "0s")):
            self.assertEqual(show.age(ms), text)
        self.assertEqual(show.age((51 * 3600 + 60) * 1000), "2d03h")

    def test_octets(self) -> None:
        for size, text in (
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (18_432, "18.0 KiB"),
            (5 << 40, "5120.0 GiB"),
        ):
            self.assertEqual(show.octets(size), text)

    def test_moment_of_today_and_before(self) -> None:
        now = 1_700_000_000_000  # 2023-11-14 22:13:20 UTC
        self.assertEqual(show.moment(now - 1000, now), "22:13:19")
        self.assertEqual(show.moment(now - 86_400_000, now), "13 Nov 22:13")

    def test_table(self) -> None:
        self.assertEqual(show.table([("a", "bcd", "x")], ("ID", "N", "REASON")), ["ID  N    REASON", "a   bcd  x"])
