# SPDX-License-Identifier: LGPL-2.1-or-later
"""A box: a whole Debian with its own systemd, in which Sluice is installed as a package would.

The process that boots boxes lives in namespaces of its own (`enter()`), so that whatever becomes of
it the kernel ends every process and takes away every mount. Only cgroups outlive it, and the next
run removes them.

From below to above a box's file system is: the root that mmdebstrap made, once, in the cache, which
nobody ever writes to; what `meson install` puts there, made once per run; and what the box itself
writes. The latter two are in a tmpfs.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

BUILD = os.environ["SLUICE_BUILD_ROOT"]
LIMIT = 60.0
SKIPPED = 77

CACHE = Path(
    os.environ.get("SLUICE_BOX_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sluice-box"
)
WORK = CACHE / "run"
INSTALLED = WORK / "installed"
CGROUPS = Path("/sys/fs/cgroup")
CGROUP_PREFIX = "sluice-box-"

# A box that is told to power off by its systemd.
POWER_OFF = signal.SIGRTMIN + 4

CLONE_NEWPID = 0x20000000

# All in which a box differs from the host. By "--all" nsenter leaves out what it thinks it is in, and
# is wrong where /proc has other numbers.
NAMESPACES = ["--cgroup", "--ipc", "--mount", "--net", "--pid", "--uts"]

TOOLS = ["systemd-nspawn", "mmdebstrap", "unshare", "nsenter", "meson"]

PACKAGES = """
systemd systemd-sysv dbus dbus-user-session libpam-systemd libseccomp2 mount passwd polkitd procps
util-linux libinih1 libjson-c5 libsqlite3-0 libxxhash0 zlib1g python3
""".split()

# What a booted root would only spend time on.
MASKED = """
apt-daily.timer apt-daily-upgrade.timer console-getty.service dev-hugepages.mount
dpkg-db-backup.timer e2scrub_all.timer fstrim.timer getty.target modprobe@.service
systemd-journal-flush.service systemd-pcrphase.service systemd-pcrphase-sysinit.service
systemd-random-seed.service systemd-remount-fs.service systemd-sysctl.service
systemd-update-utmp.service systemd-update-utmp-runlevel.service
""".split()

# "owner" is a user with rights, "stranger" one without.
HOOKS = [
    "systemctl mask " + " ".join(MASKED),
    "useradd --create-home --uid 1000 owner",
    "useradd --create-home --uid 1001 stranger",
    "sh -c 'echo 0123456789abcdef0123456789abcdef >/etc/machine-id'",
    "sh -c 'echo box >/etc/hostname'",
]

# The machines that there are: suite of Debian, further packages, further commands in the new root.
KINDS = {
    "bookworm": ("bookworm", [], []),
    "trixie": ("trixie", [], []),
    "trixie-broker": (
        "trixie",
        ["dbus-broker"],
        ["systemctl enable --force dbus-broker", "systemctl enable --global --force dbus-broker"],
    ),
}


class NotHere(Exception):
    """Why no box can be had."""


class NoRoot(NotHere):
    """The same, where all else is there: what a root is made of could not be fetched."""


def run(*command, **options):
    """Runs a command and gives its output; a failure tells what it printed."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, **options
    )
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout


def fork(function):
    """Begins a process of ours that calls the function, and ends with 0 if that returns."""
    sys.stdout.flush()
    sys.stderr.flush()
    if pid := os.fork():
        return pid
    status = 1
    try:
        function()
        status = 0
    except BaseException:  # pylint: disable=broad-except
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


# ---- namespaces and cgroups ----


def enter():
    """Goes on in namespaces of our own: starts the program anew, and returns in there only."""
    if os.geteuid() != 0:
        raise NotHere("only root can boot a box")
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        raise NotHere("there is no " + ", ".join(missing))
    namespaces = "unshare --mount --propagation private --pid --fork --kill-child --mount-proc"
    namespaces = namespaces.split()
    if subprocess.run([*namespaces, "true"], capture_output=True, check=False).returncode != 0:
        raise NotHere("this root may not make namespaces")
    CACHE.mkdir(parents=True, exist_ok=True)
    if "SLUICE_BOX_ENTERED" not in os.environ:
        os.environ["SLUICE_BOX_ENTERED"] = "yes"
        os.execvp("unshare", [*namespaces, sys.executable, *sys.argv])

    # As the first process of a namespace we get only signals that we ask for.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    mount_cgroups()
    # The host's own systemd, if there is one, is not to know of our containers.
    os.makedirs("/run/systemd", exist_ok=True)
    run("mount", "-t", "tmpfs", "tmpfs", "/run/systemd")
    WORK.mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", WORK)


def mount_cgroups():
    """Puts the one hierarchy that systemd wants in place of what the host has there."""
    if subprocess.run(["mountpoint", "-q", CGROUPS], check=False).returncode == 0:
        run("umount", "--recursive", CGROUPS)
    try:
        run("mount", "-t", "cgroup2", "cgroup2", CGROUPS)
    except AssertionError as error:
        raise NotHere("there is no cgroup2") from error


@contextlib.contextmanager
def locked(name):
    """Others that boot boxes at the same time wait here."""
    with open(CACHE / name, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def go_into(cgroup):
    (cgroup / "cgroup.procs").write_text("0")


def enter_pids(path):
    """The next child gets a number of that namespace."""
    with open(path) as namespace:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(namespace.fileno(), CLONE_NEWPID) < 0:
            raise OSError(ctypes.get_errno(), "setns")


def is_empty(cgroup):
    return "populated 0" in (cgroup / "cgroup.events").read_text()


def remove_cgroup(path):
    for folder, _, _ in os.walk(path, topdown=False):
        os.rmdir(folder)


def sweep():
    """Removes the cgroups of runs that were killed: no process is in them any more."""
    for path in CGROUPS.glob(CGROUP_PREFIX + "*"):
        if is_empty(path):
            remove_cgroup(path)


def end_cgroup(path):
    """Kills all that is in it and takes it away, before another run sweeps it."""
    with locked("cgroups.lock"):
        # What has ended by itself may have been swept already.
        if path.exists():
            (path / "cgroup.kill").write_text("1")
            until(lambda: is_empty(path), "the end of a box")
            remove_cgroup(path)


def until(true, what="it"):
    """Waits for what can only be asked for, and returns it."""
    end = time.monotonic() + LIMIT
    while not (found := true()):
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen in {LIMIT} s")
        time.sleep(0.01)
    return found


# ---- layers ----


def overlay(target, upper, *lower):
    """Mounts the folders at the target; what is written there goes to the upper one."""
    work = upper.with_name(upper.name + ".work")
    for folder in (target, upper, work):
        folder.mkdir(parents=True, exist_ok=True)
    layers = ":".join(map(str, lower))
    options = f"lowerdir={layers},upperdir={upper},workdir={work}"
    run("mount", "-t", "overlay", "-o", options, "overlay", target)


def make_root(kind):
    """The root of a kind of machine, made if it is not in the cache."""
    suite, packages, hooks = KINDS[kind]
    command = [
        *["mmdebstrap", "--quiet", "--variant=essential", "--components=main"],
        "--include=" + ",".join(PACKAGES + packages),
        # The clock of a build machine may be far from that of the mirror.
        '--aptopt=Acquire::Check-Valid-Until "false"',
        *[f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "locale", "man")],
        *[f'--customize-hook=chroot "$1" {hook}' for hook in HOOKS + hooks],
        suite,
    ]
    key = hashlib.sha256("\n".join(command).encode()).hexdigest()[:12]
    root = CACHE / f"{kind}-{key}"
    with locked(f"{kind}.lock"):
        if root.exists():
            return root
        # What a failed run left is removed by the next, where nothing of it is mounted any more.
        begun = root.with_suffix(".begun")
        shutil.rmtree(begun, ignore_errors=True)
        print(f"Making a root of {kind} in {root}", file=sys.stderr, flush=True)
        mirror = [m for m in [os.environ.get("SLUICE_BOX_MIRROR")] if m]
        done = subprocess.run(
            [*command, begun, *mirror],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise NoRoot(f"mmdebstrap could not make a root of {kind}:\n{done.stdout}")
        begun.rename(root)
    return root


def meson_install(root):
    run("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", root)


def installed_files():
    """What Meson has put into the layer, relative to the root; users that were made are no file."""
    files = [path.relative_to(INSTALLED) for path in INSTALLED.rglob("*") if path.is_file()]
    return [path for path in files if "sluice" in str(path)]


def chroot(root, *command):
    return run("chroot", root, *command)


def make_layers(kind):
    """What a box is put on: the root, and above it Sluice as a package would install it."""
    root = make_root(kind)
    merged = WORK / "merged"
    overlay(merged, INSTALLED, root)
    meson_install(merged)
    chroot(merged, "systemd-sysusers")
    chroot(merged, "usermod", "--append", "--groups", "sluice", "owner")
    run("umount", merged)
    return [INSTALLED, root]


# ---- a box ----


class Box:
    """One machine. What is written below its root before `boot()` is there when it starts."""

    def __init__(self, layers):
        self.folder = Path(tempfile.mkdtemp(prefix="box-", dir=WORK))
        self.root = self.folder / "root"
        self.cgroup = None
        self.entrance = None
        self.begun = []
        self.process = None
        self.leader = None
        self.inside = None
        overlay(self.root, self.folder / "upper", *layers)

    def write(self, path, text):
        """Writes a file, with its folders."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def boot(self):
        """Starts it, and waits until its systemd says that it is up."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            path = self.folder / "notify"
            path.unlink(missing_ok=True)
            notify.bind(str(path))
            notify.settimeout(LIMIT)
            self.start(str(path))
            notes = ""
            while "READY=1" not in notes:
                notes += notify.recv(4096).decode() + "\n"
        self.leader = re.search(r"^X_NSPAWN_LEADER_PID=(\d+)$", notes, re.MULTILINE)[1]
        # Who enters the box is within its cgroups too: logind wants to know where its callers are.
        self.entrance = self.cgroup / "payload" / "entrance"
        self.entrance.mkdir()

    def start(self, notify):
        command = """systemd-nspawn --quiet --boot --register=no --keep-unit --machine=box
            --console=pipe --private-network --notify-ready=yes"""
        # IPAddressDeny= is a program for the kernel.
        command += " --capability=CAP_BPF --system-call-filter=bpf"
        with locked("cgroups.lock"), open(self.folder / "console", "a") as console:
            sweep()
            self.cgroup = Path(tempfile.mkdtemp(prefix=CGROUP_PREFIX, dir=CGROUPS))
            self.process = subprocess.Popen(
                [*command.split(), "--directory=" + str(self.root)],
                env={**os.environ, "NOTIFY_SOCKET": notify},
                preexec_fn=lambda: go_into(self.cgroup),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )

    def begin(self, *words, user=None, stdin=subprocess.DEVNULL):
        """Begins a command in the box, as root or as somebody else. It ends with the box, if not
        before; what is given is nsenter, to kill which is not to kill the command."""
        environment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]
        become = []
        if user:
            become = f"setpriv --reuid={user} --regid={user} --init-groups".split()
        process = subprocess.Popen(
            [
                *["nsenter", *NAMESPACES, "--target", self.leader],
                *["env", "--ignore-environment", "--chdir=/", *environment, *become, *words],
            ],
            preexec_fn=lambda: go_into(self.entrance),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.begun.append(process)
        return process

    def run(self, *words, user=None, stdin="", check=True):
        """Runs a command to its end; gives what it printed, or all about it without `check`."""
        process = self.begin(*words, user=user, stdin=subprocess.PIPE)
        output, errors = process.communicate(stdin, timeout=LIMIT)
        if not check:
            return subprocess.CompletedProcess(words, process.returncode, output, errors)
        if process.returncode != 0:
            raise AssertionError(f"{' '.join(words)}: {output}{errors}")
        return output.strip()

    def path(self, path):
        """How what is there for those in the box is called out here: also for a process that has
        become somebody else, and short enough for a socket."""
        if self.inside is None:
            self.inside = os.open(f"/proc/{self.leader}/root", os.O_PATH | os.O_DIRECTORY)
        return f"/proc/self/fd/{self.inside}{path}"

    def fork(self, function):
        """As fork(), but the process has a number in the box, as those want who look at their
        callers, and ends with it."""
        folder = self.path("/proc")

        def enter():
            go_into(self.entrance)
            enter_pids(f"{folder}/1/ns/pid")
            status = os.waitpid(fork(function), 0)[1]
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)

        return fork(enter)

    def power_off(self):
        """Ends it as its systemd does, and gives the seconds that it took."""
        began = time.monotonic()
        os.kill(int(self.leader), POWER_OFF)
        status = self.process.wait(LIMIT)
        assert status == 0, f"the box ended with {status}: {self.console()}"
        self.end()
        return time.monotonic() - began

    def end(self):
        """Ends it at once."""
        if self.process:
            end_cgroup(self.cgroup)
            self.process.wait()
            self.process = None
        if self.inside is not None:
            os.close(self.inside)
            self.inside = None
        while self.begun:
            self.begun.pop().communicate()

    def remove(self):
        self.end()
        run("umount", self.root)
        shutil.rmtree(self.folder)

    def console(self):
        return (self.folder / "console").read_text()


# ---- a machine ----

EMULATOR = """qemu-system-x86_64 -accel tcg -cpu max,-la57,-cx16 -m 3G -smp 2 -nodefaults -no-reboot
    -display none -serial stdio"""
KERNEL_PACKAGE = "linux-image-cloud-amd64"

# Nothing has to be loaded for it: the root is the initial one.
KERNEL_LINE = "rdinit=/lib/systemd/systemd console=ttyS0 quiet systemd.show_status=no"

# Emulated, all takes ten times as long.
EMULATED_LIMIT = 400


def kernel():
    """Debian's own for clouds, which is fetched once."""
    path = CACHE / "vmlinuz"
    with locked("kernel.lock"), tempfile.TemporaryDirectory(dir=WORK) as folder:
        if path.exists():
            return path
        try:
            depends = run("apt-cache", "depends", KERNEL_PACKAGE)
            package = re.search(r"Depends: (linux-image-\S+)", depends)
            run("apt-get", "download", "-q", package[1] if package else KERNEL_PACKAGE, cwd=folder)
        except (AssertionError, OSError) as error:
            raise NotHere("a kernel could not be fetched") from error
        (archive,) = Path(folder).glob("*.deb")
        run("dpkg-deb", "--extract", archive, folder)
        (image,) = Path(folder).glob("boot/vmlinuz-*")
        shutil.copy(image, path.with_suffix(".begun"))
        path.with_suffix(".begun").rename(path)
    return path


class Machine:
    """The same on a machine of its own, emulated: with all that a host may keep from its boxes, as the
    controllers of cgroups. It does what it finds in /check at its start, and powers off."""

    UNIT = """[Unit]
After=multi-user.target
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
ExecStart=/bin/sh /check
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
"""

    def __init__(self, machine):
        """`machine` is a box that was not booted."""
        missing = [tool for tool in (EMULATOR.split()[0], "cpio") if not shutil.which(tool)]
        if missing or os.uname().machine != "x86_64":
            raise NotHere("there is no " + ", ".join(missing or ["emulator for this host"]))
        self.box = machine
        self.kernel = kernel()

    def run(self, script):
        """What the script prints."""
        self.box.write("/check", script)
        self.box.write("/etc/systemd/system/check.service", self.UNIT)
        wants = self.box.root / "etc/systemd/system/graphical.target.wants"
        wants.mkdir(parents=True, exist_ok=True)
        (wants / "check.service").symlink_to("../check.service")
        initial = self.box.folder / "initial"
        archive = f"find . -xdev | cpio --quiet --create --format=newc >{initial}"
        run("sh", "-c", archive, cwd=self.box.root)
        done = subprocess.run(
            [*EMULATOR.split(), "-kernel", self.kernel, "-initrd", initial, "-append", KERNEL_LINE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=EMULATED_LIMIT,
            check=False,
        )
        initial.unlink()
        return done.stdout + done.stderr
