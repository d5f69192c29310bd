#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Measures Sluice against what it would replace, side by side on this machine.

Seconds of one machine say little about another, so nearly all figures are ratios. Both sides of a
ratio run in turns, A B A B …, and the ratio is taken pair by pair, so that a machine that becomes
slower meanwhile slows down both. The median of the pairs is held against the bar.

Exit status: 0 if all was measured, 1 if something did not work (or, with --strict, if a figure is
short of its bar), 77 if there is no daemon to measure.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parent
ROOT = SOURCE.parent.parent
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
IN_FLIGHT = 4  # calls of many jobs under way
MANY_IN_FLIGHT = (4, 16)  # of many small jobs; the best of a side counts
PIPELINED = 64  # calls of one job under way
PACE, PACE_BURST = 100000, 10000  # jobs per second, and at once

# Each takes part in every job and stops none: with so many tokens at the start the rate does not
# matter, echo does not fail, and the calls are of a multiple of 16 jobs.
POLICIES = {
    "limiter": "[Limiter]\nRate=10000000/s\nBurst=1000000000\n",
    "breaker": "[Breaker]\nMaxFailures=5\n",
    "batches of 16": "[Batch]\nSize=16\nTimeout=10ms\n",
}


class Failure(Exception):
    """Something did not work; the text is for the user."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    pairs: int
    commands: int
    many: int
    packed: int
    wire: int
    leases: int
    calls: int
    pipelined: int
    single: int
    durable: int
    waiting: int
    waiting_repeats: int
    queue_lengths: tuple[int, ...]
    paced: int
    paced_runs: int
    idle_seconds: float
    settle_seconds: float
    judged: bool


FULL = Sizes(pairs=5, commands=5000, many=1000000, packed=5000000, wire=10000, leases=100000,
             calls=100000, pipelined=200000, single=5000, durable=5000, waiting=1000000, waiting_repeats=3,
             queue_lengths=(10**3, 10**4, 10**5, 10**6, 10**7), paced=1000000, paced_runs=3,
             idle_seconds=30, settle_seconds=2, judged=True)
QUICK = Sizes(pairs=1, commands=100, many=20000, packed=20000, wire=1000, leases=2000, calls=2000,
              pipelined=2000, single=200, durable=200, waiting=20000, waiting_repeats=1,
              queue_lengths=(10**3, 10**4), paced=20000, paced_runs=1, idle_seconds=1,
              settle_seconds=0.2, judged=False)


@dataclasses.dataclass
class Row:
    """One line of the result: figures, and the bar that their median is held against."""

    title: str
    values: list[float]
    unit: str = "×"
    bar: float | None = None
    goal: float | None = None
    lower_is_better: bool = False
    ours: str = ""
    rival: str = ""
    judged: bool = True
    digits: int | None = None  # behind the point

    def reaches(self, limit):
        median = statistics.median(self.values)
        return median <= limit if self.lower_is_better else median >= limit

    def is_short(self):
        return self.bar is not None and not self.reaches(self.bar)

    def verdict(self):
        if not self.judged:
            return "not judged"
        if self.is_short():
            return "SHORT"
        if self.goal is not None and not self.reaches(self.goal):
            return "short of the goal" if self.bar is None else "PASS, short of the goal"
        return "for information" if self.bar is None and self.goal is None else "PASS"

    def limit(self, value):
        if value is None:
            return ""
        return f"{'≤' if self.lower_is_better else '≥'} {value:g}"

    def cells(self):
        digits = self.digits if self.digits is not None else 2 if self.unit == "×" else 0
        spread = [min(self.values), statistics.median(self.values), max(self.values)]
        return [self.title, self.ours, self.rival, *(f"{v:,.{digits}f}" for v in spread), self.unit,
                self.limit(self.bar), self.limit(self.goal), self.verdict()]


COLUMNS = ["what", "Sluice", "rival", "min", "median", "max", "unit", "bar", "goal", "verdict"]


def rate(values, of="/s"):
    """The median of some rates, short enough for a table."""
    median = statistics.median(values)
    for unit, scale in (("M", 1e6), ("k", 1e3)):
        if median >= scale:
            return f"{median / scale:.3g} {unit}{of}"
    return f"{median:.3g}{of}"


def ratios(ours, rivals):
    return [a / b for a, b in zip(ours, rivals)]


def run(argv, **options):
    result = subprocess.run([str(a) for a in argv], capture_output=True, text=True, **options)
    if result.returncode != 0:
        raise Failure(f"{pathlib.Path(argv[0]).name} {' '.join(str(a) for a in argv[1:])}: exit "
                      f"status {result.returncode}\n{result.stderr.strip()}")
    return result.stdout


def figures(output):
    """Reads lines `NAME VALUE UNIT`."""
    return {fields[0]: float(fields[1]) for fields in map(str.split, output.splitlines())}


@dataclasses.dataclass
class Table:
    """Figures that belong together and do not fit into rows."""

    title: str
    columns: list[str]
    lines: list[list[str]]


def status_field(pid, file, name):
    for line in pathlib.Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise Failure(f"/proc/PID/{file} has no {name}")


def wait_until_it_listens(name, process, path):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket(socket.AF_UNIX) as s, contextlib.suppress(OSError):
            s.connect(str(path))
            return
        time.sleep(0.01)
    raise Failure(f"{name} does not listen")


class Daemon:
    """A sluiced with settings of its own, on a direct socket in a directory that goes away; with a
    bus, also there; with a folder for its state, which stays."""

    def __init__(self, sluiced, files, bus=None, state=None):
        self.sluiced, self.files = sluiced, files
        self.options = ["--user" if bus else "--no-bus"]
        self.options += [f"--state={state}"] if state else []
        self.environment = {**os.environ, "DBUS_SESSION_BUS_ADDRESS": bus.address} if bus else None

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="sluice-bench-")
        top = pathlib.Path(self.directory.name)
        (top / "config").mkdir()
        (top / "state").mkdir()
        for name, text in self.files.items():
            (top / "config" / name).write_text(text)
        self.socket = top / "bus"
        self.log = (top / "log").open("w+")
        self.process = subprocess.Popen(
            [self.sluiced, *self.options, f"--listen={self.socket}", f"--config={top / 'config'}",
             "--log-level=warning"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=self.environment)
        try:
            wait_until_it_listens("sluiced", self.process, self.socket)
        except BaseException:
            self.process.kill()
            self.process.wait()
            print(self.log_text(), file=sys.stderr, end="")
            self.directory.cleanup()
            raise
        return self

    def log_text(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read()[-4000:]

    def __exit__(self, exception_type, exception, traceback):
        # The second signal ends a drain that has something to wait for.
        for _ in range(2):
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=15)
                break
        else:
            self.process.kill()
            self.process.wait()
        log = self.log_text()
        self.log.close()
        self.directory.cleanup()
        if exception is not None:
            print(log, file=sys.stderr, end="")
        elif self.process.returncode != 0:
            raise Failure(f"sluiced ended with status {self.process.returncode}:\n{log}")

    def resident_kib(self):
        return self.status_field("status", "VmRSS:")

    def cpu_ticks(self):
        text = pathlib.Path("/proc", str(self.process.pid), "stat").read_text()
        return sum(int(field) for field in text.rpartition(")")[2].split()[11:13])

    def wakeups(self):
        """Voluntary context switches of all threads: how often any of them went to sleep."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task")
        return sum(self.status_field(f"task/{task.name}/status", "voluntary_ctxt_switches:")
                   for task in tasks.iterdir())

    def status_field(self, file, name):
        return status_field(self.process.pid, file, name)


class Bus:
    """A dbus-daemon of our own, on which bench-service gives back what it is given."""

    CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"""

    def __init__(self, service):
        self.service = service

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-bench-"))
            path = pathlib.Path(directory, "socket")
            self.address = f"unix:path={path}"
            config = pathlib.Path(directory, "bus.conf")
            config.write_text(self.CONFIG.format(socket=path))
            daemon = stack.enter_context(subprocess.Popen(
                ["dbus-daemon", "--nofork", "--nopidfile", f"--config-file={config}"],
                stderr=subprocess.DEVNULL))  # it may not raise its limits, which does not matter
            stack.callback(daemon.kill)
            wait_until_it_listens("dbus-daemon", daemon, path)
            service = stack.enter_context(subprocess.Popen([self.service, self.address],
                                                           stdout=subprocess.PIPE, text=True))
            stack.callback(service.kill)
            if service.stdout.readline() != "ready\n":
                raise Failure("bench-service does not get its name")
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        self.stack.close()


class Beanstalkd:
    """A beanstalkd on a socket in a directory that goes away; it keeps nothing on a disk, or in a
    log there that is synced for each job before that is told."""

    def __init__(self, durable=False):
        self.durable = durable

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="sluice-bench-")
        self.socket = pathlib.Path(self.directory.name, "socket")
        options = ["-b", self.directory.name, "-f", "0"] if self.durable else []
        self.process = subprocess.Popen(["beanstalkd", "-l", f"unix:{self.socket}", *options],
                                        stdin=subprocess.DEVNULL)
        try:
            wait_until_it_listens("beanstalkd", self.process, self.socket)
        except BaseException:
            self.__exit__()
            raise
        return self

    def put(self, n, in_flight):
        """Jobs per second, so many under way: a put, or as many at once, and their answers. The
        sync of the disk takes so much longer than this client that another one would not matter."""
        one = b"put 0 0 60 16\r\n0123456789abcdef\r\n"
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(self.socket))
            answers = s.makefile("rb")
            begin = time.monotonic()
            for done in range(0, n, in_flight):
                k = min(in_flight, n - done)
                s.sendall(one * k)
                for _ in range(k):
                    if not answers.readline().startswith(b"INSERTED"):
                        raise Failure("beanstalkd does not take a job")
            return n / (time.monotonic() - begin)

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait()
        self.directory.cleanup()


class Bench:
    """The programs of one build directory, and one function for each comparison."""

    def __init__(self, build, sizes):
        self.build, self.sizes = build, sizes
        self.sluiced = build / "src/daemon/sluiced"
        self.sluicectl = build / "src/ctl/sluicectl"
        self.client_program = build / "tests/bench/bench-client"
        self.lease_program = build / "tests/bench/bench-lease"
        self.prioq_program = build / "tests/core/bench-prioq"
        self.limiter_program = build / "tests/bench/bench-limiter"
        self.store_program = build / "tests/bench/bench-store"
        self.notes, self.tables = [], []

    # The parts.

    def echo_module(self):
        for name in ("echo.so", "libecho.so"):
            path = self.build / "src/modules" / name
            if path.exists():
                return path
        raise Failure(f"the echo plug-in is not in {self.build / 'src/modules'}")

    def echo_pool(self, *settings, workers="Workers=1", module=None):
        return "\n".join(["[Pool]", "Handler=module", workers, "QueueMax=2000000",
                          f"[Module]\nPath={module or self.echo_module()}", *settings, ""])

    @staticmethod
    def true_pool(workers="Workers=2"):
        return (f"[Pool]\nHandler=command\n{workers}\nQueueMax=100000\n"
                "[Command]\nExecStart=/bin/true\n")

    def daemon(self, **pools):
        return Daemon(self.sluiced, {f"{name}.pool": text for name, text in pools.items()})

    def accepts(self, what, settings, *options, pool=None):
        """Does the daemon know these settings? If not, a note says what is left out, and why."""
        with tempfile.TemporaryDirectory(prefix="sluice-bench-") as directory:
            file = pathlib.Path(directory, "try.pool")
            file.write_text(pool or self.echo_pool(settings, workers="MinWorkers=1\nMaxWorkers=4"))
            result = subprocess.run([self.sluiced, *options, "--check", f"--config={directory}"],
                                    capture_output=True, text=True)
        if result.returncode == 0:
            return True
        fault = (result.stdout + result.stderr).strip().splitlines() or ["no reason given"]
        note = (f"Left out, as this daemon refuses the settings: {what} "
                f"({fault[0].removeprefix(f'{file}:')}).")
        if note not in self.notes:
            self.notes.append(note)
        return False

    def client(self, daemon, pool, verb, *args):
        return figures(run([self.client_program, f"unix:path={daemon.socket}", pool, verb, *args]))

    def go_program(self):
        """Builds the Go pools; None if there is no Go here."""
        go = shutil.which("go")
        if go is None:
            self.notes.append("The comparison with Go was not run: `go` is not installed "
                              "(package golang-go).")
            return None
        program = self.build / "tests/bench/go-pools"
        run([go, "build", "-o", program, "."], cwd=SOURCE / "go",
            env={**os.environ, "GOCACHE": str(self.build / "tests/bench/go-cache"), "GOFLAGS": ""})
        return program

    # The comparisons.

    def command(self):
        """Commands of a pool against xargs."""
        n, ours, rivals = self.sizes.commands, [], []
        with self.daemon(true=self.true_pool()) as daemon:
            for _ in range(self.sizes.pairs):
                ours.append(self.client(daemon, "true", "true", n)["true"])
                begin = time.monotonic()
                run(["/bin/sh", "-c", f"seq {n} | xargs -P2 -n1 /bin/true"])
                rivals.append(n / (time.monotonic() - begin))
        yield Row("`/bin/true`, 2 workers, by `SubmitMany` / `xargs -P2`", ratios(ours, rivals),
                  bar=1.0, ours=rate(ours), rival=rate(rivals))

    def coprocess(self):
        """A C program that stays, against the same one started for each job, and by xargs."""
        n = self.sizes.many // 5
        program, spawned = self.build / "tests/bench/bench-echo", self.sizes.commands // 2
        settings = ("[Pool]\nHandler={}\nWorkers=2\nQueueMax=1000000\n[Command]\n"
                    f"ExecStart={program} {{}}\n").format
        found = {"stays": [], "command": [], "xargs": []}
        with self.daemon(stays=settings("coprocess", "coprocess"),
                         command=settings("command", "")) as daemon:
            for _ in range(self.sizes.pairs):
                for pool, jobs, block in (("stays", n, 1000), ("command", spawned, 100)):
                    found[pool].append(
                        self.client(daemon, pool, "runmany", jobs, block, 4)["runmany"])
                begin = time.monotonic()
                run(["/bin/sh", "-c", f"seq {spawned} | xargs -P2 -n1 {program}"])
                found["xargs"].append(spawned / (time.monotonic() - begin))
        for side, title in (("command", "the same as a `command`"), ("xargs", "`xargs -P2 -n1`")):
            yield Row(f"`coprocess` of a C echo, 2 workers, by `RunMany` / {title}",
                      ratios(found["stays"], found[side]), bar=50, ours=rate(found["stays"]),
                      rival=rate(found[side]))

    def lease(self):
        """Consumers that lease jobs, against the same consumers of beanstalkd."""
        if not shutil.which("beanstalkd"):
            self.notes.append("There is no comparison with beanstalkd: it is not installed.")
        with (self.daemon(jobs="[Pool]\nHandler=lease\nQueueMax=1000000\n") as daemon,
              Beanstalkd() if shutil.which("beanstalkd") else contextlib.nullcontext() as rival):
            for consumers in (1, 4):
                for block, rounds in ((1, PIPELINED), (PIPELINED, 1)):
                    yield from self.lease_of_block(daemon, rival, consumers, block, rounds)

    DURABLE = "[Pool]\nHandler=lease\nDurable=yes\nQueueMax=10000000\n"

    def durable(self):
        """Submits that are on the disk when they are answered, against beanstalkd with its log."""
        if not shutil.which("beanstalkd"):
            self.notes.append("There is no comparison with beanstalkd: it is not installed.")
        with tempfile.TemporaryDirectory(prefix="sluice-bench-") as state:
            with (Daemon(self.sluiced, {"jobs.pool": self.DURABLE}, state=state) as daemon,
                  Beanstalkd(durable=True) if shutil.which("beanstalkd")
                  else contextlib.nullcontext() as rival):
                for verb, block, title, bar in (
                        ("submit", 1, "one `Submit` at a time / one put", 1.0),
                        ("submit", 64, "64 `Submit` in flight / 64 puts at once", None),
                        ("submit-many", 64, "`SubmitMany` of 64 / 64 puts at once", 3.0),
                        ("submit-many", 1000, "`SubmitMany` of 1,000 / 1,000 puts at once", 3.0)):
                    n = self.sizes.durable * (1 if block == 1 else 10)
                    ours, rivals = [], []
                    for _ in range(self.sizes.pairs):
                        ours.append(self.client(daemon, "jobs", verb, n, block)[verb])
                        if rival:
                            # It is so much slower in blocks that less of it will do.
                            rivals.append(rival.put(max(n // 10, block), block))
                    if rival:
                        yield Row(f"durable, {title} of beanstalkd, `-f 0`", ratios(ours, rivals),
                                  bar=bar, ours=rate(ours), rival=rate(rivals))
                    else:
                        yield Row(f"durable, {title}", [v / 1e3 for v in ours], unit="k jobs/s")
        yield from self.beside_durable()
        yield from self.recovery()

    def beside_durable(self):
        """What durability costs a pool that has none: nothing while nobody submits to the durable
        one, and else the CPU time of these submits, as if another daemon took them."""
        echo, jobs = {"echo.pool": self.echo_pool()}, {"jobs.pool": self.DURABLE}
        with contextlib.ExitStack() as stack:
            def start(files):
                directory = tempfile.TemporaryDirectory(prefix="sluice-bench-")
                return stack.enter_context(
                    Daemon(self.sluiced, files, state=stack.enter_context(directory)))

            both, plain, other = start({**echo, **jobs}), start(echo), start(jobs)
            found = {"idle": [], "without": [], "busy": [], "elsewhere": []}
            for _ in range(self.sizes.pairs):
                found["idle"].append(self.run_many_beside(both))
                found["without"].append(self.run_many_beside(plain))
                found["busy"].append(self.run_many_beside(both, flooded=both))
                found["elsewhere"].append(self.run_many_beside(plain, flooded=other))
        for one, two, title in (
                ("idle", "without", "`RunMany` in a daemon with a durable pool / without"),
                ("busy", "elsewhere", "`RunMany` beside a durable pool that is submitted to / "
                                      "while that of another daemon is")):
            yield Row(title, ratios(found[one], found[two]), bar=0.9 if one == "idle" else None,
                      ours=rate(found[one]), rival=rate(found[two]))

    def run_many_beside(self, daemon, flooded=None):
        flood = flooded and subprocess.Popen(
            [str(a) for a in (self.client_program, f"unix:path={flooded.socket}", "jobs",
                              "submit-many", self.sizes.durable * 1000, 64)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return self.client(daemon, "echo", "runmany", self.sizes.many // 4, 1000,
                               IN_FLIGHT)["runmany"]
        finally:
            if flood:
                flood.kill()
                flood.wait()

    def recovery(self):
        """From the start of a daemon to its socket, with so many jobs that wait on the disk."""
        n, seconds, sizes = self.sizes.waiting, [], []
        for _ in range(self.sizes.waiting_repeats):
            with tempfile.TemporaryDirectory(prefix="sluice-bench-") as state:
                files = {"jobs.pool": self.DURABLE}
                with contextlib.suppress(Failure):
                    with Daemon(self.sluiced, files, state=state) as daemon:
                        self.client(daemon, "jobs", "submit-many", n, min(n, 10000))
                        daemon.process.kill()
                        daemon.process.wait()
                begin = time.monotonic()
                with Daemon(self.sluiced, files, state=state) as daemon:
                    seconds.append(time.monotonic() - begin)
                    sizes.append(daemon.resident_kib() * 1024 / n)
        yield Row(f"start with {n:,} durable jobs that wait", seconds, unit="s", bar=5,
                  lower_is_better=True, digits=2, judged=self.sizes.judged)
        yield Row("the same, memory of the daemon per job", sizes, unit="bytes",
                  judged=self.sizes.judged)

    def lease_of_block(self, daemon, rival, consumers, block, rounds):
        ours = {"leases": f"`Lease({block})`, then {block} `Complete` at once"}
        if block == 1:
            ours["leases"] = f"{rounds} × `Lease(1)`, `Complete` in flight"
        else:
            ours["complete-many"] = f"`Lease({block})`, `CompleteMany`"
        found, empty = {"beanstalkd": [], **{side: [] for side in ours}}, []
        for _ in range(self.sizes.pairs):
            for side, values in found.items():
                if side != "beanstalkd":
                    values.append(self.consume(side, f"unix:path={daemon.socket}", "jobs",
                                               consumers, block, rounds))
                elif rival:
                    values.append(self.consume(side, rival.socket, "-", consumers, block, rounds))
            if block == 1 and consumers == 1:
                empty.append(self.client(daemon, "jobs", "empty", self.sizes.pipelined,
                                         rounds)["empty-pipelined"] / 2)
        if empty:
            yield Row(f"1 consumer, {rounds} × `Lease(1)`, `Complete` in flight / two empty calls",
                      ratios(found["leases"], empty), ours=rate(found["leases"]),
                      rival=rate(empty))
        for side, what in ours.items():
            title = f"{consumers} consumer{'s' if consumers > 1 else ''}, {what}"
            if rival:
                title += (f" / beanstalkd, {rounds} × reserve, delete in flight" if block == 1 else
                          f" / beanstalkd, {block} reserve at once, then {block} delete")
                yield Row(title, ratios(found[side], found["beanstalkd"]), bar=1.0,
                          ours=rate(found[side]), rival=rate(found["beanstalkd"]))
            else:
                yield Row(title, [value / 1e3 for value in found[side]], unit="k jobs/s")

    def consume(self, side, where, queue, *shape):
        return figures(run([self.lease_program, side, where, queue, self.sizes.leases, *shape]))[side]

    def service(self):
        """Jobs that a service does, against calls of the same service."""
        if not shutil.which("dbus-daemon"):
            self.notes.append("Services were not measured: there is no dbus-daemon.")
            return
        pool = (f"[Pool]\nHandler=service\nWorkers={PIPELINED}\nQueueMax=1000000\n[Service]\n"
                "BusName=org.example.SluiceBench1\nObjectPath=/org/example/SluiceBench1\n")
        if not self.accepts("services", "", "--user", pool=pool):
            return
        n, ours, rivals = self.sizes.calls, [], []
        with (Bus(self.build / "tests/bench/bench-service") as bus,
              Daemon(self.sluiced, {"jobs.pool": pool}, bus) as daemon):
            for _ in range(self.sizes.pairs):
                ours.append(self.client(daemon, "jobs", "runmany-flat", n, 500, IN_FLIGHT)["runmany"])
                rivals.append(figures(run([self.client_program, bus.address, "jobs", "process", n,
                                           PIPELINED]))["process"])
        yield Row(f"`service`, {PIPELINED} workers, C echo, by `RunMany` / {PIPELINED} calls in flight",
                  ratios(ours, rivals), bar=0.8, ours=rate(ours), rival=rate(rivals))

    def map(self):
        """sluicectl map against xargs and GNU parallel, and on a stream of short lines."""
        with self.daemon(true=self.true_pool(), echo=self.echo_pool()) as daemon:
            yield from self.map_of_commands(daemon)
            yield from self.map_of_lines(daemon)

    def map_of_commands(self, daemon):
        n = self.sizes.commands
        sides = {"map": f"{self.sluicectl} --address=unix:path={daemon.socket} map true",
                 "xargs -P2": "xargs -P2 -n1 /bin/true"}
        if shutil.which("parallel"):
            sides["parallel -j2"] = "parallel --will-cite -j2 /bin/true"
        else:
            self.notes.append("There is no comparison with GNU parallel: it is not installed.")
        found = {side: [] for side in sides}
        for _ in range(self.sizes.pairs):
            for side, command in sides.items():
                begin = time.monotonic()
                run(["/bin/sh", "-c", f"seq {n} | {command}"])
                found[side].append(n / (time.monotonic() - begin))
        for rival, bar in (("xargs -P2", 0.9), ("parallel -j2", 3.0)):
            if rival in found:
                yield Row(f"`/bin/true`, 2 workers, by `sluicectl map` / `{rival}`",
                          ratios(found["map"], found[rival]), bar=bar, ours=rate(found["map"]),
                          rival=rate(found[rival]))

    def map_of_lines(self, daemon):
        n, speeds, client, server = self.sizes.many, [], [], []
        for _ in range(self.sizes.pairs):
            begin, got, resident = time.monotonic(), 0, 0
            lines = subprocess.Popen(["/bin/sh", "-c", f"yes | head -n {n}"],
                                     stdout=subprocess.PIPE)
            process = subprocess.Popen(
                [self.sluicectl, f"--address=unix:path={daemon.socket}", "map", "echo"],
                stdin=lines.stdout, stdout=subprocess.PIPE)
            with lines, process:
                lines.stdout.close()
                output = True
                while output:
                    with contextlib.suppress(Failure):  # it may have ended
                        resident = status_field(process.pid, "status", "VmHWM:")
                    output = process.stdout.read(65536)
                    got += len(output)
            if process.returncode != 0 or got != 2 * n:
                raise Failure(f"sluicectl map gave back {got} of {2 * n} bytes")
            speeds.append(n / (time.monotonic() - begin) / 1e3)
            client.append(resident)
            server.append(daemon.status_field("status", "VmHWM:"))
        yield Row(f"`yes | head -n {n} | sluicectl map` of the echo plug-in", speeds,
                  unit="k jobs/s")
        for who, values in (("sluicectl", client), ("sluiced", server)):
            yield Row(f"greatest resident memory of {who} meanwhile", values, unit="KiB",
                      bar=32 * 1024, lower_is_better=True)

    def many(self):
        """RunMany and RunPacked against pools inside a Go program."""
        go = self.go_program()
        with self.daemon(echo=self.echo_pool()) as daemon:
            for block in (1000, 10000):
                yield from self.many_of_block(daemon, go, block)

    def many_once(self, daemon, go, block, in_flight):
        sizes = self.sizes
        yield self.client(daemon, "echo", "runmany", sizes.many, block, in_flight)
        if go is not None:
            yield figures(run([go, "-jobs", sizes.many, "-block", block, "-inflight", in_flight]))
        yield self.client(daemon, "echo", "runpacked", sizes.packed, block, in_flight)

    def many_of_block(self, daemon, go, block):
        many, packed, priority, channel, pattern = [], [], [], [], []
        for _ in range(self.sizes.pairs):
            found = {}
            for in_flight in MANY_IN_FLIGHT:
                for figure in self.many_once(daemon, go, block, in_flight):
                    found = {name: max(value, found.get(name, 0))
                             for name, value in (found | figure).items()}
            many.append(found["runmany"])
            packed.append(found["runpacked"])
            if go is not None:
                priority.append(found["go-priority"])
                channel.append(found["go-channel"])
                pattern.append(found["go-priority-own-channel"])
        if go is None:
            for verb, values in (("RunMany", many), ("RunPacked", packed)):
                yield Row(f"`{verb}`, blocks of {block:,}", [v / 1e3 for v in values],
                          unit="k jobs/s", ours=rate(values))
            return
        for verb, values, rival, name, bar, goal in (
                ("RunMany", many, pattern, "Go priority pool, a channel per job", 1.7, 2.0),
                ("RunMany", many, priority, "Go priority pool, fastest shape", None, None),
                ("RunPacked", packed, pattern, "Go priority pool, a channel per job", 6.0, None),
                ("RunPacked", packed, priority, "Go priority pool, fastest shape", None, None),
                ("RunPacked", packed, channel, "Go channel pool, fastest shape", None, 1.0)):
            yield Row(f"`{verb}`, blocks of {block:,} / {name}", ratios(values, rival), bar=bar,
                      goal=goal, ours=rate(values), rival=rate(rival))

    def pipelined(self):
        """Many single Run calls under way, against as many empty calls."""
        with self.daemon(echo=self.echo_pool()) as daemon:
            found = [self.client(daemon, "echo", "pipelined", self.sizes.pipelined, PIPELINED)
                     for _ in range(self.sizes.pairs)]
        ours = [f["run-pipelined"] for f in found]
        rivals = [f["empty-pipelined"] for f in found]
        yield Row(f"`Run`, {PIPELINED} in flight / empty calls", ratios(ours, rivals), bar=0.6,
                  ours=rate(ours), rival=rate(rivals))

    def single(self):
        """One Run at a time, against one empty call at a time."""
        # A worker per CPU, as pools have by default: the job stays on the CPU that it came to.
        with self.daemon(echo=self.echo_pool(workers="")) as daemon:
            found = [self.client(daemon, "echo", "single", self.sizes.single)
                     for _ in range(self.sizes.pairs)]
        for percentile, bar in (("p50", 1.25), ("p99", None)):
            ours = [f[f"run-single-{percentile}"] for f in found]
            rivals = [f[f"empty-single-{percentile}"] for f in found]
            yield Row(f"`Run`, one at a time / empty call, {percentile}", ratios(ours, rivals),
                      bar=bar, lower_is_better=True, ours=f"{statistics.median(ours):.0f} us",
                      rival=f"{statistics.median(rivals):.0f} us")

    def wire(self):
        """What libsystemd takes to write and to read the messages of RunMany, on both sides."""
        with self.daemon(echo=self.echo_pool()) as daemon:
            found = [self.client(daemon, "echo", "wire", self.sizes.wire)
                     for _ in range(self.sizes.pairs)]
        for side in ("client", "daemon"):
            yield Row(f"`RunMany`, libsystemd's share of the {side}",
                      [f[f"wire-{side}"] for f in found], unit="ns/job")

    def memory(self):
        """What a job that waits costs."""
        n, values = self.sizes.waiting, []
        for _ in range(self.sizes.waiting_repeats):
            with self.daemon(echo=self.echo_pool()) as daemon:
                before = daemon.resident_kib()
                self.client(daemon, "echo", "submit-many", n, 10000)
                values.append((daemon.resident_kib() - before) * 1024 / n)
        yield Row(f"memory per waiting job, {n:,} of 16 bytes", values, unit="bytes", bar=130,
                  goal=100, lower_is_better=True)

    def prioq(self):
        """The priority queue alone, from short to very long."""
        if not self.prioq_program.exists():
            self.notes.append("The queue alone was not measured: bench-prioq is not built.")
            return
        found = {}
        for _ in range(self.sizes.pairs):
            for line in run([self.prioq_program, max(self.sizes.queue_lengths)]).splitlines():
                name, n, *rest = line.split()
                if name == "prioq":
                    nsec = rest[0]
                    found.setdefault(int(n), []).append(float(nsec))
        for n, values in sorted(found.items()):
            yield Row(f"queue, push and pop with {n:,} waiting", values, unit="ns")
        if 1000 in found and 1000000 in found:
            yield Row("queue, push and pop at 1,000,000 / at 1,000",
                      ratios(found[1000000], found[1000]), bar=3.0, lower_is_better=True)

    def store(self):
        """What is written to the disk, by the store alone, and how long it takes to read it."""
        msec = 1000 if self.sizes.judged else 20
        found = [figures(run([self.store_program, self.sizes.waiting, msec]))
                 for _ in range(self.sizes.pairs)]

        def of(name):
            return [f[f"store-{name}"] for f in found]

        for name, title in (("submit-1", "submits, one at a time"),
                            ("submit-64", "submits, 64 in flight"),
                            ("many-64", "jobs, in submits of 64"),
                            ("many-1000", "jobs, in submits of 1,000"),
                            ("life-64", "jobs from submit to forgotten, 64 in flight")):
            yield Row(f"store: {title} / syncs", ratios(of(name), of("sync")), ours=rate(of(name)),
                      rival=rate(of("sync")))
        n = self.sizes.waiting
        for each, title in ((1, "alone"), (1000, "by 1,000")):
            seconds = [a + b for a, b in zip(of(f"open-{each}"), of(f"read-{each}"))]
            yield Row(f"store: start with {n:,} jobs, submitted {title}", seconds, unit="s", bar=5,
                      lower_is_better=True)
            yield Row(f"store: size of a job of 200 bytes, submitted {title}", of(f"size-{each}"),
                      unit="bytes", lower_is_better=True, digits=0)

    def limiter(self):
        """What a token costs, and whether a rate is kept."""
        found = [figures(run([self.limiter_program])) for _ in range(self.sizes.pairs)]
        for name, title in (("limiter-granted", "a token, granted, `core/limiter` alone"),
                            ("limiter-refused", "a token, refused, `core/limiter` alone"),
                            ("try-granted", "a token, granted, with clock and lock"),
                            ("try-refused", "a token, refused, with clock and lock")):
            yield Row(title, [f[name] for f in found], unit="ns", digits=1)
        yield from self.try_acquire()
        yield from self.windows()
        yield from self.pace()

    def try_acquire(self):
        with self.daemon(echo=self.echo_pool(POLICIES["limiter"])) as daemon:
            many = [self.client(daemon, "echo", "try-acquire", self.sizes.pipelined, PIPELINED)
                    for _ in range(self.sizes.pairs)]
            single = [self.client(daemon, "echo", "try-acquire-single", self.sizes.single)
                      for _ in range(self.sizes.pairs)]
        ours = [f["try-acquire-pipelined"] for f in many]
        rivals = [f["empty-pipelined"] for f in many]
        yield Row(f"`TryAcquire`, {PIPELINED} in flight / empty calls", ratios(ours, rivals),
                  ours=rate(ours), rival=rate(rivals))
        for percentile in ("p50", "p99"):
            ours = [f[f"try-acquire-single-{percentile}"] for f in single]
            rivals = [f[f"empty-single-{percentile}"] for f in single]
            yield Row(f"`TryAcquire`, one at a time / empty call, {percentile}",
                      ratios(ours, rivals), ours=f"{statistics.median(ours):.0f} us",
                      rival=f"{statistics.median(rivals):.0f} us")

    def windows(self):
        msec = self.sizes.paced * 1000 // PACE
        found = [figures(run([self.limiter_program, "windows", PACE, PACE_BURST, msec]))
                 for _ in range(self.sizes.paced_runs)]
        yield Row(f"`core/limiter` at {PACE:,}/s, tokens over the bound in the fullest window",
                  [f["windows-over"] for f in found], unit="tokens", bar=0, lower_is_better=True,
                  digits=2, ours=rate([f["windows-rate"] for f in found]))

    def pace(self):
        found = []
        pool = self.echo_pool(f"[Limiter]\nRate={PACE}/s\nBurst={PACE_BURST}",
                              module=self.build / "tests/bench/bench-clock.so")
        for _ in range(self.sizes.paced_runs):
            # A new one each time: the bucket is to be full.
            with self.daemon(clock=pool) as daemon:
                found.append(self.client(daemon, "clock", "paced", self.sizes.paced, 10000,
                                         IN_FLIGHT, PACE, PACE_BURST))
        title = f"{self.sizes.paced:,} jobs at {PACE:,}/s"
        yield Row(f"{title}, rate off by", [abs(f["paced-rate"] / PACE - 1) * 100 for f in found],
                  unit="%", bar=0.1, lower_is_better=True, digits=3,
                  ours=f"{statistics.median(f['paced-rate'] for f in found):,.0f}/s")
        yield Row(f"{title}, most begun beyond burst + rate × time",
                  [f["paced-over"] for f in found], unit="jobs", bar=0, lower_is_better=True,
                  digits=2)
        yield Row(f"{title}, lateness that explains the fullest window",
                  [f["paced-late"] for f in found], unit="us", digits=1)

    def policies(self):
        """What each policy costs a job."""
        sections = {name: text for name, text in POLICIES.items() if self.accepts(name, text)}
        everything = "all at once"
        if len(sections) < len(POLICIES):
            everything += f", without {', '.join(n for n in POLICIES if n not in sections)}"
        # Side by side: what is judged comes first.
        patterns = {"plain": ([], "-flat"), everything: ([*sections.values()], ""),
                    "+ 10 priorities": ([], ""),
                    **{f"+ {name}": ([text], "-flat") for name, text in sections.items()}}
        table = Table("What each policy costs", ["call", "pattern", "jobs/s", "ns/job",
                                                 "p99 of a call", "of plain"], [])
        pools = {f"pool{i}": self.echo_pool(*p[0]) for i, p in enumerate(patterns.values())}
        with self.daemon(**pools) as daemon:
            for verb, call, block, n in (("runpacked", "RunPacked", 1000, self.sizes.packed),
                                         ("runpacked", "RunPacked", 10000, self.sizes.packed),
                                         ("runmany", "RunMany", 1000, self.sizes.many)):
                rates = {name: [] for name in patterns}
                p99s = {name: [] for name in patterns}
                for _ in range(self.sizes.pairs):
                    for pool, (name, (_, flat)) in zip(pools, patterns.items()):
                        found = self.client(daemon, pool, verb + flat, n, block, IN_FLIGHT)
                        rates[name].append(found[verb])
                        p99s[name].append(found[f"{verb}-p99"])
                for name in ("plain", *list(patterns)[2:], everything):
                    kept = statistics.median(ratios(rates[name], rates["plain"]))
                    table.lines.append([f"`{call}`, blocks of {block:,}", name,
                                        rate(rates[name], of=""),
                                        f"{1e9 / statistics.median(rates[name]):.0f}",
                                        f"{statistics.median(p99s[name]) / 1000:.2f} ms",
                                        f"{kept:.0%}"])
                yield Row(f"`{call}`, blocks of {block:,}, {everything} / plain",
                          ratios(rates[everything], rates["plain"]), bar=0.6,
                          ours=rate(rates[everything]), rival=rate(rates["plain"]))
        self.tables.append(table)

    def pipelines(self):
        """A pipeline of three stages against three times the cost of one."""
        n = self.sizes.packed
        files = {f"{name}.pool": self.echo_pool() for name in ("one", "two", "three")}
        files["p.pipeline"] = "[Pipeline]\nStages=one two three\nMaxInFlight=1000000\n"
        for block in (1000, 10000):
            walls, cpus, items, jobs = [], [], [], []
            with Daemon(self.sluiced, files) as daemon:
                for _ in range(self.sizes.pairs):
                    job, job_cpu = self.run_packed(daemon, "one", n, block)
                    item, item_cpu = self.run_packed(daemon, "pipeline/p", n, block)
                    jobs.append(job)
                    items.append(item)
                    walls.append(job / (3 * item))
                    cpus.append(item_cpu / (3 * job_cpu))
            yield Row(f"`RunPacked`, blocks of {block:,}, 3 stages / 3 × the time of one", walls,
                      bar=1.3, lower_is_better=True, ours=rate(items), rival=rate(jobs))
            yield Row(f"`RunPacked`, blocks of {block:,}, 3 stages / 3 × the daemon's CPU time for one",
                      cpus, lower_is_better=True)

    def run_packed(self, daemon, target, n, block):
        """Jobs per second, and CPU time of the daemon per job."""
        before = daemon.cpu_ticks()
        found = self.client(daemon, target, "runpacked-flat", n, block, IN_FLIGHT)["runpacked"]
        return found, max(daemon.cpu_ticks() - before, 1) / n

    def idle(self):
        """What the daemon does while there is nothing to do."""
        kinds = (self.echo_pool(workers=""), self.true_pool(workers=""))
        with self.daemon(**{f"pool{i}": kinds[i % 2] for i in range(10)}) as daemon:
            wakeups, resident = self.wakeups(daemon), daemon.resident_kib()
        yield self.wakeups_row("10 idle pools", wakeups)
        yield Row("resident memory, 10 idle pools", [resident], unit="KiB", bar=6 * 1024,
                  lower_is_better=True)
        yield from self.idle_policies()

    def idle_policies(self):
        """The same with all policies, most of which have had work."""
        names = ["limiters", "breakers"]
        batch = "[Batch]\nSize=16\nTimeout=250ms"
        scale = "[Scale]\nMode=queue\nInterval=1s"
        batch = batch if self.accepts("batches of 16", batch) else ""
        scale = scale if self.accepts("elastic pools", scale) else ""
        names += [name for name, text in (("batches of 16", batch), ("elastic pools", scale)) if text]
        files = {"shared.limiter": "[Limiter]\nRate=5000/s\nBurst=10\n",
                 "shared.breaker": "[Breaker]\nMaxFailures=5\n"}
        elastic = []
        for i in range(10):
            pool = f"pool{i}"
            gates = ([files["shared.limiter"], files["shared.breaker"]] if i % 2 == 0
                     else ["[Pool]\nLimiter=shared\nBreaker=shared"])
            workers = "Workers=2"
            if scale and i % 3 == 0:
                gates.append(scale)
                workers = "MinWorkers=1\nMaxWorkers=4"
                elastic.append(pool)
            files[f"{pool}.pool"] = self.echo_pool(*gates, batch if i % 4 < 2 else "",
                                                   workers=workers)
        with Daemon(self.sluiced, files) as daemon:
            for i in range(10):
                # Elastic pools take their time to become small again, which is not idling.
                if f"pool{i}" not in elastic:
                    self.client(daemon, f"pool{i}", "runpacked", 200, 50, IN_FLIGHT)
            wakeups = self.wakeups(daemon)
        yield self.wakeups_row(f"10 idle pools with {', '.join(names)}", wakeups)

    def wakeups(self, daemon):
        time.sleep(self.sizes.settle_seconds)
        before = daemon.wakeups()
        time.sleep(self.sizes.idle_seconds)
        return daemon.wakeups() - before

    def wakeups_row(self, what, wakeups):
        return Row(f"wake-ups in {self.sizes.idle_seconds:g} s, {what}", [wakeups], unit="wake-ups",
                   bar=0, lower_is_better=True)

    # All of it.

    def measure(self, names):
        rows = []
        for name in names:
            comparison = getattr(self, name)
            print(f"{comparison.__doc__}", flush=True)
            for row in comparison():
                row.judged = self.sizes.judged
                rows.append(row)
                values = "  ".join(f"{v:,.2f}" for v in row.values)
                print(f"  {row.title}: {values} {row.unit}", flush=True)
        return rows

    def machine(self):
        """What the figures were measured on."""
        cpus = [line.split(":", 1)[1].strip()
                for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")] or ["unknown CPU"]
        options = json.loads((self.build / "meson-info/intro-buildoptions.json").read_text())
        build_type = next(o["value"] for o in options if o["name"] == "buildtype")
        facts = [f"{len(os.sched_getaffinity(0))} × {cpus[0]}",
                 "Linux " + ".".join(platform.release().split(".")[:2]), f"buildtype {build_type}"]
        go = shutil.which("go")
        if go is not None:
            facts.append(run([go, "version"]).split()[2])
        return ", ".join(facts)


COMPARISONS = ["command", "coprocess", "lease", "service", "durable", "map", "many", "wire",
               "pipelined", "single", "memory", "prioq", "store", "limiter", "policies", "pipelines", "idle"]


def as_text(columns, lines):
    table = [columns, *lines]
    widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
                     for line in table)


def as_markdown(columns, lines):
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [columns, ["---"] * len(columns), *lines])


def as_section(rows, bench):
    parts = [f"{BEGIN}\nMeasured on {bench.machine()}.",
             as_markdown(COLUMNS, [row.cells() for row in rows])]
    for table in bench.tables:
        parts += [f"{table.title}:", as_markdown(table.columns, table.lines)]
    return "\n\n".join([*parts, *bench.notes]) + f"\n{END}"


def write_section(path, section):
    """Replaces what is between the markers."""
    text = path.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise Failure(f"{path} has no section from {BEGIN} to {END}")
    path.write_text(before + section + after)


def merge_rows(path, rows):
    """Puts rows in place of those that have their titles, or behind the last that had one."""
    lines = path.read_text().splitlines()
    try:
        begin, end = lines.index(BEGIN), lines.index(END)
    except ValueError:
        raise Failure(f"{path} has no section from {BEGIN} to {END}") from None
    new = as_markdown(COLUMNS, [row.cells() for row in rows]).splitlines()
    # The table of rows is the first one, and ends with the first empty line behind its head.
    head = lines.index(new[0], begin, end)
    at = lines.index("", head, end)
    for line in new[2:]:
        title = line.split(" | ")[0]
        known = [i for i in range(head + 2, lines.index("", head, end))
                 if lines[i].startswith(title + " | ")]
        if known:
            lines[known[0]] = line
            at = known[0] + 1
        else:
            lines.insert(at, line)
            at += 1
    path.write_text("\n".join(lines) + "\n")


def parse_arguments():
    explained = "\n".join(f"  {name:<12}{getattr(Bench, name).__doc__}" for name in COMPARISONS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     epilog=f"comparisons:\n{explained}",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build",
                        help="the build directory (default: %(default)s)")
    parser.add_argument("--quick", action="store_true",
                        help="only see that it all works: small numbers, nothing is judged")
    parser.add_argument("--pairs", type=int, help=f"pairs per comparison (default: {FULL.pairs})")
    parser.add_argument("--only", action="extend", nargs="+", choices=COMPARISONS, metavar="NAME",
                        help="only these comparisons, of those below")
    parser.add_argument("--write", action="store_true", help="put the table into the document; with --only, these rows of it")
    parser.add_argument("--document", type=pathlib.Path, default=ROOT / "docs/benchmarks.md",
                        help="where --write writes (default: %(default)s)")
    parser.add_argument("--strict", action="store_true",
                        help="fail if a figure is short of its bar")
    arguments = parser.parse_args()
    if arguments.pairs is not None and arguments.pairs < 1:
        parser.error("--pairs must be at least 1")
    if arguments.quick and (arguments.write or arguments.strict):
        parser.error("--quick measures too little for --write or --strict")
    return arguments


def main():
    arguments = parse_arguments()
    sizes = QUICK if arguments.quick else FULL
    if arguments.pairs is not None:
        sizes = dataclasses.replace(sizes, pairs=arguments.pairs)
    bench = Bench(arguments.build.resolve(), sizes)
    if not bench.sluiced.exists():
        print(f"bench: {bench.sluiced} is not built, so there is nothing to measure.",
              file=sys.stderr)
        return 77

    rows = bench.measure(arguments.only or COMPARISONS)
    print()
    print(f"On {bench.machine()}:")
    print(as_text(COLUMNS, [row.cells() for row in rows]))
    for table in bench.tables:
        print(f"\n{table.title}:")
        print(as_text(table.columns, table.lines))
    for note in bench.notes:
        print(note)
    if arguments.quick:
        print("These are too few to judge by: the figures only show that all of it works.")
    if arguments.write and arguments.only:
        merge_rows(arguments.document, rows)
    elif arguments.write:
        write_section(arguments.document, as_section(rows, bench))
    return 1 if arguments.strict and any(row.is_short() for row in rows) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"bench: {failure}", file=sys.stderr)
        sys.exit(1)
