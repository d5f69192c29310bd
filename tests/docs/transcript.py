# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a page of docs/ shows: settings, which are files in docs/examples/, and transcripts, which
are what a new daemon with these settings answers.

A block of `console` is a transcript. A line that begins with "$ " is given to sh, together with the
lines after it that begin with "> "; what stands below is its output, standard error included. "…"
in a line stands for any text there, at least one character. All else must be equal, line by line.

A command that only looks at the state of a moment is repeated until it shows what the page shows,
because a submit answers before a worker begins; nothing is waited for by time."""

import difflib
import os
import re
import subprocess
import time
import unittest

from harness import BUILD, LIMIT

SOURCE = os.environ["SLUICE_SOURCE_ROOT"]
DOCS = os.path.join(SOURCE, "docs")
EXAMPLES = os.path.join(DOCS, "examples")
LICENCE = "# SPDX-License-Identifier: LGPL-2.1-or-later\n"

SETTINGS = re.compile(r"^\[(\S+)\]\(examples/(\S+)\):\n\n```ini\n(.*?)^```$", re.M | re.S)
TRANSCRIPT = re.compile(r"^```console\n(.*?)^```$", re.M | re.S)
LOOKS = re.compile(r"sluicectl (list|jobs|status)\b|busctl get-property\b")


def read(name):
    with open(os.path.join(DOCS, name)) as f:
        return f.read()


def commands(transcript):
    """(command, [line of output, …]) of each."""
    found = []
    for line in transcript.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.startswith("> ") and found and not found[-1][1]:
            found[-1] = (found[-1][0] + "\n" + line[2:], [])
        else:
            assert found, f"output before the first command: {line}"
            found[-1][1].append(line)
    return found


def is_as_shown(lines, shown):
    """Whether the output is what the page shows."""
    return len(lines) == len(shown) and all(
        re.fullmatch(".+".join(map(re.escape, pattern.split("…"))), line)
        for line, pattern in zip(lines, shown)
    )


def difference(command, lines, shown):
    diff = difflib.unified_diff(shown, lines, "as shown", "output", lineterm="")
    return f"\n$ {command}\n" + "\n".join(diff)


class Page:
    """A text with what it shows: (name, path below docs/examples, text) of each settings file, and
    the commands of all transcripts."""

    def __init__(self, text):
        self.text = text
        self.settings = SETTINGS.findall(text)
        self.commands = [c for t in TRANSCRIPT.findall(text) for c in commands(t)]


class Reader(unittest.TestCase):
    """Somebody who compares what is there with what is shown."""

    maxDiff = None

    def check_settings(self, page):
        self.assertTrue(page.settings)
        self.assertEqual(page.text.count("```ini\n"), len(page.settings))
        for name, path, shown in page.settings:
            self.assertEqual(name, os.path.basename(path))
            self.assertEqual(read("examples/" + path), LICENCE + shown, name)

    def output(self, daemon, command):
        programs = [os.path.join(BUILD, "src", d) for d in ("ctl", "daemon")]
        environment = dict(
            os.environ,
            PATH=os.pathsep.join([*programs, os.environ["PATH"]]),
            DBUS_SYSTEM_BUS_ADDRESS=daemon.address,
            LC_ALL="C.UTF-8",
        )
        environment.pop("SLUICE_ADDRESS", None)
        done = subprocess.run(["sh", "-c", command], env=environment, cwd=SOURCE, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=3 * LIMIT)
        return done.stdout.splitlines()

    def follow(self, daemon, page_commands):
        for command, shown in page_commands:
            end = time.monotonic() + LIMIT
            lines = self.output(daemon, command)
            while (not is_as_shown(lines, shown) and LOOKS.match(command)
                   and time.monotonic() < end):
                time.sleep(0.02)
                lines = self.output(daemon, command)
            if not is_as_shown(lines, shown):
                self.fail(difference(command, lines, shown))
