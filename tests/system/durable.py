# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of durable pools share: a daemon with a state, and words for what is done with
jobs."""

import unittest

from harness import MANAGER, Daemon
from wire import Connection, DBusError

FOREVER = 2**64 - 1
SECOND = 1_000_000
LEASE = ("[Pool]\nHandler=lease\nDurable=yes\nMaxAttempts=5\nBackoff=0\n"
         "StopTimeout=50ms\n")
TRIAL = ("[Pool]\nHandler=module\nWorkers=1\nDurable=yes\nMaxAttempts=5\nBackoff=0\n"
         "[Module]\nPath=trial.so\n")
INVALID_ARGS = "org.freedesktop.DBus.Error.InvalidArgs"
NOT_SUPPORTED = "org.freedesktop.DBus.Error.NotSupported"


def error(name):
    return "org.sluice1.Error." + name


def setting(text, line):
    """A pool with one more setting, or another value of one."""
    name = line.split("=")[0] + "="
    lines = [old for old in text.splitlines() if not old.startswith(name)]
    lines.insert(1, line)
    return "\n".join(lines) + "\n"


class Case(unittest.TestCase):
    def start(self, files, **options):
        """What is at work has little time at a stop, as leases do not end by themselves."""
        files.setdefault("sluiced.conf", "[Daemon]\nDrainTimeout=50ms\n")
        self.daemon = Daemon(files, durable=True, **options)
        self.addCleanup(self.daemon.stop)
        return self.connect()

    def connect(self):
        connection = Connection(self.daemon.address)
        self.addCleanup(connection.close)
        return connection

    def crash(self):
        self.daemon.crash()
        return self.connect()

    def restart(self):
        self.daemon.restart()
        return self.connect()

    def refused(self, name, call, *arguments, **options):
        with self.assertRaises(DBusError) as caught:
            call(*arguments, **options)
        self.assertEqual(caught.exception.name, name, caught.exception.text)
        return caught.exception.text

    # ---- words for what is done most ----

    def submit(self, c, pool, payload, **options):
        return c.pool(pool, "Submit", "aya{sv}", payload, options)[0]

    def many(self, c, pool, payloads, **options):
        first, n = c.pool(pool, "SubmitMany", "aaya{sv}", payloads, options)
        return list(range(first, first + n))

    def lease(self, c, pool, n=1000, timeout=0):
        return c.pool(pool, "Lease", "ut", n, timeout)[0]

    def leased(self, c, pool, **options):
        return [lease[2] for lease in self.lease(c, pool, **options)]

    def complete(self, c, pool, lease, output=b"done"):
        c.pool(pool, "Complete", "ttbay", lease[0], lease[1], True, output)

    def fail_job(self, c, pool, lease, fatal=False, text="failed"):
        c.pool(pool, "Fail", "ttbs", lease[0], lease[1], fatal, text)

    def wait_job(self, c, id, timeout=FOREVER):
        """State, result, output and error text."""
        return tuple(c.manager("WaitJob", "tt", id, timeout))

    def result(self, c, id):
        state, result, output, text = self.wait_job(c, id)
        self.assertEqual(state, "finished")
        return result, output if result == "succeeded" else text

    def job(self, c, id, name):
        return c.get(f"{MANAGER}/job/{id}", "org.sluice1.Job", name)

    def is_gone(self, c, id):
        try:
            self.wait_job(c, id, 0)
        except DBusError as e:
            self.assertEqual(e.name, error("NotFound"))
            return True
        return False
