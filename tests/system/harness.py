# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of the real daemon share: the daemon itself in a folder of its own, a private bus
daemon, and busctl. Waits are for events with a limit, never for a span of time."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

BUILD = os.environ.get("SLUICE_BUILD_ROOT", "/nowhere")
SLUICED = os.path.join(BUILD, "src/daemon/sluiced")
MODULES = os.path.join(BUILD, "src/modules")
TEST_MODULES = os.path.join(BUILD, "tests/system")
NAME = "org.sluice1"
MANAGER = "/org/sluice1"
LIMIT = 30.0
NOBODY = 65534
# Users with and without rights: those of a box, or two that there are everywhere.
OWNER, STRANGER = (1000, 1001) if "SLUICE_RUNNING" in os.environ else (1, NOBODY)
SKIPPED = 77

ECHO = "[Pool]\nHandler=module\nWorkers=1\n[Module]\nPath=echo.so\n"
SLEEP = "[Pool]\nHandler=module\nWorkers=2\n[Module]\nPath=sleep.so\n"
CAT = "[Pool]\nHandler=command\nWorkers=1\n[Command]\nExecStart=/usr/bin/cat\n"
POOLS = {"echo.pool": ECHO, "sleep.pool": SLEEP, "cat.pool": CAT}


def pool(name):
    return f"{MANAGER}/pool/{name}"


def until(true, what="it"):
    """Waits for what can only be asked for."""
    end = time.monotonic() + LIMIT
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen in {LIMIT} s")
        time.sleep(0.005)


class Daemon:
    """A sluiced with settings, socket and log in a folder that goes away with it."""

    has_polkit = False

    def __init__(self, files=None, options=("--no-bus",), environment=None, start=True,
                 durable=False):
        self.folder = tempfile.mkdtemp(prefix="sluice-test.")
        os.chmod(self.folder, 0o755)
        self.config = os.path.join(self.folder, "config")
        self.socket = os.path.join(self.folder, "bus")
        self.address = "unix:path=" + self.socket
        self.options = list(options)
        self.state = os.path.join(self.folder, "state")
        self.options += ["--state=" + self.state] if durable else []
        self.environment = dict(os.environ, SLUICE_MODULE_PATH=f"{MODULES}:{TEST_MODULES}",
                                **(environment or {}))
        self.environment.pop("JOURNAL_STREAM", None)
        # Where it would keep its state otherwise is that of a real one.
        if "--no-bus" not in self.options:
            self.environment.setdefault("STATE_DIRECTORY", os.path.join(self.folder, "state"))
        self.process = None
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(os.path.join(self.folder, "notify"))
        self.environment["NOTIFY_SOCKET"] = self.notify.getsockname()
        self.notes = []
        self.taken = 0
        self.reader = threading.Thread(target=self.read_notes, daemon=True)
        self.reader.start()
        os.mkdir(self.config)
        for name, text in (POOLS if files is None else files).items():
            self.write(name, text)
        if start:
            self.start()

    def write(self, name, text):
        path = os.path.join(self.config, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)

    def remove(self, name):
        os.unlink(os.path.join(self.config, name))

    def command(self):
        return [SLUICED, *self.options, "--listen=" + self.socket, "--config=" + self.config]

    def forget_notes(self):
        """What the process before has said last may not have been read yet, and is not said by
        the next one: its READY=1 would be waited for no longer."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mark:
            mark.sendto(b"LAST", self.notify.getsockname())
        until(lambda: "LAST" in self.notes, "the last notification")
        self.notes.clear()
        self.taken = 0

    def start(self, wait=True):
        self.forget_notes()
        with open(os.path.join(self.folder, "log"), "a") as log:
            self.process = subprocess.Popen(self.command(), env=self.environment, stderr=log)
        if wait:
            self.wait_note("READY=1")
            os.chmod(self.socket, 0o666)
        return self

    def text(self):
        with open(os.path.join(self.folder, "log")) as f:
            return f.read()

    def read_notes(self):
        """A daemon waits for who does not read its notifications, so somebody always does. Ends
        with the shutdown of the socket, which is as if an empty one came."""
        while text := self.notify.recv(4096).decode():
            self.notes += text.splitlines()

    def wait_note(self, note):
        """Waits for the note among those after the last one that was waited for."""

        def has_come():
            assert self.process.poll() is None, f"the daemon has ended:\n{self.text()}"
            return note in self.notes[self.taken :]

        until(has_come, note)
        self.taken = self.notes.index(note, self.taken) + 1

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        return self.process.wait(LIMIT)

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def pid(self):
        return self.process.pid

    def kill(self):
        if self.is_alive():
            self.process.kill()
        if self.process:
            self.process.wait()

    def crash(self):
        """Ends it as the kernel does that is out of memory, and starts it again."""
        self.kill()
        return self.start()

    def restart(self):
        """Ends it as systemd would, and starts it again."""
        self.signal(signal.SIGTERM)
        assert self.wait() == 0, self.text()
        return self.start()

    def stop(self):
        """Stops it as systemd would, and looks for what sanitizers found."""
        try:
            if self.is_alive():
                self.signal(signal.SIGTERM)
                self.signal_again_if_needed()
            if self.process:
                assert self.process.returncode in (0, -signal.SIGKILL), (
                    f"exit status {self.process.returncode}:\n{self.text()}"
                )
            log = os.path.join(self.folder, "log")
            text = self.text() if os.path.exists(log) else ""
            assert "Sanitizer" not in text and "runtime error" not in text, text
        finally:
            self.kill()
            self.notify.shutdown(socket.SHUT_RDWR)
            # If it were closed first, the next daemon's could have the same number, and this
            # thread take a notification from there.
            self.reader.join()
            self.notify.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def signal_again_if_needed(self):
        try:
            self.process.wait(0.5)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGTERM)
            self.process.wait(LIMIT)


class RunningDaemon:
    """That of the system, in a box that is there for these tests: like a Daemon, and as new."""

    has_polkit = True
    config, state = "/etc/sluice", "/var/lib/sluice"
    address = "unix:path=/run/sluice/bus"
    bus_address = "unix:path=/run/dbus/system_bus_socket"

    def __init__(self):
        self.systemctl("start")
        self.instance = self.show()

    def systemctl(self, *words):
        return subprocess.run(["systemctl", *words, "sluiced.service"], capture_output=True,
                              text=True, check=True).stdout

    def show(self):
        """What is another one after a restart."""
        return self.systemctl("show", "--property=MainPID,NRestarts")

    def pid(self):
        return int(re.search(r"MainPID=(\d+)", self.instance)[1])

    def write(self, name, text):
        with open(os.path.join(self.config, name), "w") as f:
            f.write(text)

    def is_alive(self):
        return self.show() == self.instance

    def text(self):
        return subprocess.run(["journalctl", "--unit=sluiced", "--lines=50"],
                              capture_output=True, text=True, check=True).stdout

    def stop(self):
        """Stops it, and takes away its settings and what it has kept."""
        alive, text = self.is_alive(), self.text()
        self.systemctl("stop")
        for folder in (self.config, self.state):
            for name in os.listdir(folder):
                os.unlink(os.path.join(folder, name))
        assert alive, f"there is another one than before:\n{text}"


def is_running():
    """Whether the tests are for the daemon of the system."""
    return "SLUICE_RUNNING" in os.environ


class Bus:
    """A dbus-daemon of our own, at an address that outlives it."""

    CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>{type}</type>
  <listen>{address}</listen>
  <servicedir>{folder}</servicedir>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow send_type="signal"/>
    <allow receive_type="signal"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="method_call"/>
    <allow eavesdrop="true"/>
  </policy>
  <limit name="max_connections_per_user">1000</limit>
  <limit name="max_completed_connections">2000</limit>
</busconfig>
"""

    def __init__(self, kind="session", services=None):
        """`services` are what it starts: names and command lines."""
        self.kind = kind
        self.folder = tempfile.mkdtemp(prefix="sluice-bus.")
        os.chmod(self.folder, 0o755)
        self.path = os.path.join(self.folder, "socket")
        self.address = "unix:path=" + self.path
        self.config = os.path.join(self.folder, "bus.conf")
        with open(self.config, "w") as f:
            f.write(self.CONFIG.format(type=kind, address=self.address, folder=self.folder))
        for name, command in (services or {}).items():
            with open(os.path.join(self.folder, name + ".service"), "w") as f:
                f.write(f"[D-BUS Service]\nName={name}\nExec={command}\n")
        self.variable = f"DBUS_{kind.upper()}_BUS_ADDRESS"
        if kind == "session":
            self.variable = "DBUS_SESSION_BUS_ADDRESS"
        self.environment = {self.variable: self.address}
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["dbus-daemon", "--nofork", "--nopidfile", "--config-file=" + self.config],
            stderr=subprocess.DEVNULL,
        )
        until(lambda: can_connect(self.path), "the start of the bus daemon")

    def kill(self):
        self.process.kill()
        self.process.wait()
        if os.path.exists(self.path):
            os.unlink(self.path)

    def stop(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def can_connect(path):
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect(path)
            return True
        except OSError:
            return False


class Busctl:
    """busctl at one address."""

    def __init__(self, address):
        self.base = ["busctl", "--address=" + address, "--timeout=60"]

    def run(self, *arguments, check=True):
        done = subprocess.run(
            [*self.base, *arguments], capture_output=True, text=True, timeout=90
        )
        if check:
            assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done

    def call(self, path, interface, member, *arguments, check=True):
        done = self.run("call", NAME, path, f"{NAME}.{interface}", member, *arguments, check=check)
        return done.stdout.strip()

    def get(self, path, interface, *names):
        done = self.run("get-property", NAME, path, f"{NAME}.{interface}", *names)
        return done.stdout.strip()


def is_sanitized():
    """Slower, and of another size."""
    if is_running():
        return False
    with open(os.path.join(BUILD, "meson-info/intro-buildoptions.json")) as f:
        return re.search(r'"name": "b_sanitize", "value": "none"', f.read()) is None


def main():
    """Runs the tests of the calling program; 77 if all of them were skipped."""
    program = unittest.main(module="__main__", exit=False, verbosity=2)
    result = program.result
    if result.testsRun == len(result.skipped) and result.wasSuccessful():
        sys.exit(SKIPPED)
    sys.exit(0 if result.wasSuccessful() else 1)
