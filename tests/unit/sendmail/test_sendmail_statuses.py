"""Exit statuses of sysexits.h."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.sendmail import statuses


class Statuses(SynchronousTestCase):
    def test_of_replies(self) -> None:
        for code, enhanced, status in (
            (550, "5.1.1", statuses.NOUSER),
            (550, "5.1.2", statuses.NOHOST),
            (556, "5.1.10", statuses.NOHOST),
            (553, "5.1.3", statuses.DATAERR),
            (553, "5.1.7", statuses.DATAERR),
            (550, "5.7.1", statuses.NOPERM),
            (552, "5.3.4", statuses.DATAERR),
            (554, "5.6.0", statuses.DATAERR),
            (550, "5.2.1", statuses.NOUSER),
            (552, "5.2.2", statuses.UNAVAILABLE),
            (554, "", statuses.UNAVAILABLE),
            (451, "4.3.0", statuses.TEMPFAIL),
            (421, "4.7.0", statuses.TEMPFAIL),
            (299, "", statuses.TEMPFAIL),
        ):
            self.assertEqual(statuses.status_of(code, enhanced), status, (code, enhanced))
