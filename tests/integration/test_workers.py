"""Several processes: mail through all of them, and what happens when one dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from contextlib import ExitStack
from threading import Thread
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mta.admin.refusals import refused_events
from mta.spool.values import id_number, worker_of
from tests.integration.tools import MESSAGE, Daemon, Dialogue, wait_for

TWO = "workers = 2\n"


def workers(daemon: Daemon) -> list[dict[str, Any]]:
    """As ``mta status`` has them; also where one is down."""
    return json.loads(daemon.mta("status", "--json", check=False).stdout)["workers"]


def running(daemon: Daemon) -> list[int]:
    return [one["pid"] for one in workers(daemon) if one["state"] == "runs"]


def refusals(daemon: Daemon) -> int:
    return len(refused_events(str(daemon.state)))


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def by_both(daemon: Daemon) -> list[str]:
    """Ids of messages that both workers took."""
    ids: list[str] = []
    wait_for(
        lambda: ids.append(daemon.take("ann@ours.example")) or len({worker_of(id_number(id)) for id in ids}) == 2,
        lambda: f"both workers to take mail: {ids}",
    )
    return ids


class TwoWorkers(SynchronousTestCase):
    def test_one_queue_over_both(self) -> None:
        with Daemon(top=TWO) as daemon:
            daemon.mta("queue", "pause", "--all")
            ids = by_both(daemon)
            self.assertEqual(sorted(row["id"] for row in daemon.queue()), sorted(ids))
            self.assertEqual(daemon.asked("queue", "stats")["recipients"], len(ids))
            self.assertEqual(daemon.asked("status")["accepted"], len(ids))
            for id in ids:
                self.assertEqual(daemon.asked("explain", id)["id"], id)
            changed = daemon.asked("queue", "hold", "--all", "--yes")
            self.assertEqual(changed, {"selected": len(ids), "changed": len(ids)})
            self.assertEqual(daemon.asked("queue", "release", "--all", "--yes")["changed"], len(ids))
            daemon.mta("queue", "resume", "--all")
            daemon.wait_for_mail("ann", len(ids))
            daemon.drained()
            figures = daemon.audit()
            self.assertEqual((figures["accepted"], figures["unaccounted"]), (len(ids), 0))
            self.assertTrue(daemon.asked("drain")["done"])

    def test_killed_under_load_nothing_is_lost(self) -> None:
        with Daemon(top=TWO) as daemon:
            taken: list[str] = []
            senders = [Thread(target=self.send, args=(daemon, taken, 60)) for _ in range(4)]
            for sender in senders:
                sender.start()
            wait_for(lambda: len(taken) > 40, lambda: "some mail")
            victim = running(daemon)[1]
            os.kill(victim, signal.SIGKILL)
            for sender in senders:
                sender.join()
            wait_for(lambda: len(running(daemon)) == 2, lambda: f"both workers:\n{daemon.log()}")
            self.assertNotIn(victim, running(daemon))
            self.assertIn("worker-died: worker 1 got signal 9", daemon.log())
            daemon.drained()
            self.assertGreaterEqual(len(taken), 240)
            log = daemon.log()
            for id in taken:
                self.assertIn(f"{id} attempt: try", log)
            figures = daemon.audit()
            self.assertEqual((figures["unaccounted"], figures["queued"]), (0, 0))
            # A message whose 250 died with the worker is there too: never fewer.
            self.assertGreaterEqual(figures["accepted"], len(taken))
            self.assertGreaterEqual(len(daemon.mails("ann")), len(taken))

    def send(self, daemon: Daemon, taken: list[str], count: int) -> None:
        """Until so many were taken; who loses the connection comes again."""
        mine = 0
        while mine < count:
            try:
                with Dialogue(daemon.port) as client:
                    client.greet()
                    while mine < count:
                        reply = client.message("ann@ours.example", ["ann@ours.example"], MESSAGE)
                        if not reply.startswith("250"):
                            break
                        taken.append(reply.split()[-1])
                        mine += 1
            except (OSError, AssertionError):
                continue

    def test_the_spool_of_a_worker_that_is_no_more_is_emptied(self) -> None:
        with Daemon(top=TWO) as daemon:
            daemon.mta("queue", "pause", "--all")
            ids = by_both(daemon)
            daemon.stop()
            # The service is stopped: commands reach both spools.
            held = daemon.asked("queue", "hold", "--all", "--yes")
            self.assertEqual(held["changed"], len(ids))
            self.assertEqual(daemon.asked("queue", "release", "--all", "--yes")["changed"], len(ids))
            daemon.mta("queue", "resume", "--all")
            daemon.change(TWO, "workers = 1\n")
            daemon.start()
            self.assertEqual([one["worker"] for one in workers(daemon)], [0, 1])
            daemon.wait_for_mail("ann", len(ids))
            daemon.drained()
            more = daemon.take("ann@ours.example")
            self.assertEqual(worker_of(id_number(more)), 0)
            self.assertEqual(daemon.audit()["accepted"], len(ids) + 1)

    def test_reload_is_checked_by_all_and_used_by_all(self) -> None:
        with Daemon(top=TWO) as daemon:
            daemon.add("\n[limits]\nmessage_size = 5\n")
            refused = daemon.mta("reload", check=False)
            self.assertEqual(refused.returncode, 1)
            self.assertIn("nothing was changed", refused.stderr)
            daemon.change("message_size = 5\n", 'message_size = "1MiB"\n')
            os.kill(running(daemon)[1], signal.SIGKILL)
            daemon.wait_for_log("with a configuration that the others have not read yet: mta reload")
            daemon.change(TWO, "workers = 3\n")
            self.assertIn("needs a restart: workers", daemon.mta("reload").stdout)
            for _ in range(6):
                with Dialogue(daemon.port) as client:
                    self.assertTrue(client.reply().startswith("220"))
                    self.assertIn("SIZE 1048576", client.say("EHLO client.example"))

    def test_what_is_asked_while_one_is_down(self) -> None:
        with Daemon(top=TWO) as daemon:
            daemon.mta("queue", "pause", "--all")
            ids = by_both(daemon)
            spool = daemon.state / "spool" / "1"
            spool.chmod(0o777)  # no spool may be used by others: the worker refuses to start on it
            os.kill(running(daemon)[1], signal.SIGKILL)
            daemon.wait_for_log("worker-died: worker 1 ended with status 1")
            status = daemon.mta("status", check=False)
            self.assertEqual(status.returncode, 1)
            self.assertIn("worker 1         down: ended with status 1", status.stdout)
            self.assertIn("may be used by others", status.stdout)
            spool.chmod(0o700)
            held = daemon.mta("queue", "hold", "--all", "--yes", check=False)
            if held.returncode:  # not where it has just come up again
                self.assertIn("not in all workers (worker 1 is down", held.stderr)
            wait_for(lambda: len(running(daemon)) == 2, lambda: f"both workers:\n{daemon.log()}")
            self.assertEqual(len(daemon.queue()), len(ids))
            daemon.take("ann@ours.example")

    def test_what_needs_a_restart_is_as_the_parent_has_it(self) -> None:
        with Daemon(top=TWO) as daemon:
            right, victims = daemon.configuration.read_text(), running(daemon)
            daemon.change('state = "state"', 'state = "other"')
            daemon.change('name = "mx"', 'name = "renamed"')
            daemon.change('hostname = "mail.ours.example"', 'hostname = "new.ours.example"')
            for victim in victims:
                os.kill(victim, signal.SIGKILL)
            wait_for(lambda: daemon.log().count(" is up, process ") == 4, lambda: daemon.log())
            with Dialogue(daemon.port) as client:
                self.assertTrue(client.reply().startswith("220 mail.ours.example"))
            self.assertFalse((daemon.folder / "other").exists())
            self.assertNotIn("mta reload", daemon.log())  # nothing that a reload could put to use
            daemon.write(right)
            daemon.take("ann@ours.example")

    def test_a_start_on_a_spool_that_is_unsafe_ends_at_once(self) -> None:
        with Daemon(top=TWO) as daemon:
            daemon.stop()
            (daemon.state / "spool" / "1").chmod(0o755)
            self.assertIn("/spool/1 may be used by others (mode 0755)", daemon.refused())

    def test_a_start_where_no_worker_comes_up_ends(self) -> None:
        with Daemon(top=TWO) as daemon:
            daemon.stop()
            for number in "01":
                database = daemon.state / "spool" / number / "spool.db"
                database.write_bytes(b"no database at all" * 1000)
            self.assertIn("no worker can start: ended with status 1", daemon.refused())

    def test_an_erasure_counts_each_refusal_once(self) -> None:
        with Daemon(top=TWO) as daemon:
            for _ in range(3):
                with Dialogue(daemon.port) as client:
                    client.greet()
                    client.say("MAIL FROM:<ann@else.example>")
                    self.assertTrue(client.say("RCPT TO:<nobody@ours.example>").startswith("550"))
            wait_for(lambda: refusals(daemon) == 3, lambda: "three refusals that are kept")
            erased = daemon.asked("erase", "ann@else.example", "--yes")
            self.assertEqual(erased["refused"], 3)
            self.assertEqual(refusals(daemon), 0)

    def test_stopped_and_killed(self) -> None:
        with Daemon(top=TWO) as daemon:
            pids = running(daemon)
            with Dialogue(daemon.port) as client:
                client.greet()
                daemon.stop()
                self.assertTrue(client.reply().startswith("421"))
            self.assertEqual([gone(pid) for pid in pids], [True, True])
            daemon.start()
            os.kill(running(daemon)[0], signal.SIGTERM)
            daemon.wait_for_log("worker-died: worker 0 ended by itself")
            daemon.take("ann@ours.example")  # by the other one
            wait_for(lambda: len(running(daemon)) == 2, lambda: f"both workers:\n{daemon.log()}")
            pids = running(daemon)
            daemon.kill()
            wait_for(lambda: all(gone(pid) for pid in pids), lambda: "the workers to follow their parent")
            daemon.start()
            daemon.take("ann@ours.example")

    def test_connections_of_a_client_count_over_both(self) -> None:
        with Daemon("\n[limits]\nconnections_per_client = 3\n", top=TWO) as daemon, ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(Dialogue(daemon.port)).greet()
            for _ in range(4):
                with Dialogue(daemon.port) as client:
                    self.assertTrue(client.reply().startswith("421"))
            os.kill(running(daemon)[0], signal.SIGKILL)
            os.kill(running(daemon)[-1], signal.SIGKILL)
            wait_for(lambda: len(running(daemon)) == 2, lambda: f"both workers:\n{daemon.log()}")
            with Dialogue(daemon.port) as client:  # those of the dead are forgotten
                client.greet()

    def test_a_unix_socket_is_shared_and_stays(self) -> None:
        with Daemon(top=TWO, endpoint="unix:mx.sock:mode=600") as daemon:
            path = daemon.folder / "mx.sock"
            os.kill(running(daemon)[1], signal.SIGTERM)
            wait_for(lambda: "again" in daemon.mta("status", check=False).stdout, lambda: daemon.log())
            wait_for(lambda: len(running(daemon)) == 2, lambda: f"both workers:\n{daemon.log()}")
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
            for _ in range(4):
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.settimeout(10)
                    sock.connect(str(path))
                    self.assertTrue(sock.recv(100).startswith(b"220 "))
            daemon.stop()
            self.assertFalse(path.exists())
