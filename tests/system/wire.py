# SPDX-License-Identifier: LGPL-2.1-or-later
"""A small D-Bus client that can also do what a good one must not: send any bytes, in either byte
order, not read, and forge signals."""

import array
import itertools
import os
import pwd
import select
import socket
import struct
import time

CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
LIMIT = 60.0
FIXED = {"y": "B", "b": "I", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d",
         "h": "I"}
ALIGNMENT = {"y": 1, "n": 2, "q": 2, "g": 1, "v": 1, "x": 8, "t": 8, "d": 8, "(": 8, "{": 8}


class DBusError(Exception):
    def __init__(self, name, text):
        super().__init__(f"{name}: {text}")
        self.name, self.text = name, text


class Disconnected(Exception):
    pass


def split_one(signature):
    """The first complete type, and the rest."""
    i = 0
    while signature[i] == "a":
        i += 1
    if signature[i] in "({":
        depth = 0
        while True:
            depth += signature[i] in "({"
            depth -= signature[i] in ")}"
            i += 1
            if depth == 0:
                return signature[:i], signature[i:]
    return signature[: i + 1], signature[i + 1 :]


def split(signature):
    types = []
    while signature:
        one, signature = split_one(signature)
        types.append(one)
    return types


class Writer:
    def __init__(self, order):
        self.order, self.data = order, bytearray()

    def align(self, n):
        self.data += bytes(-len(self.data) % n)

    def fixed(self, code, value):
        self.align(struct.calcsize(code))
        self.data += struct.pack(self.order + code, value)

    def one(self, t, value):
        if t in FIXED:
            self.fixed(FIXED[t], value)
        elif t in "so":
            raw = value if isinstance(value, bytes) else value.encode()
            self.fixed("I", len(raw))
            self.data += raw + b"\0"
        elif t == "g":
            self.data += struct.pack("B", len(value)) + value.encode() + b"\0"
        elif t == "v":
            self.one("g", value[0])
            self.one(value[0], value[1])
        elif t == "ay":
            self.fixed("I", len(value))
            self.data += bytes(value)
        elif t[0] == "a":
            self.fixed("I", 0)
            at = len(self.data) - 4
            self.align(ALIGNMENT.get(t[1], 4))
            start = len(self.data)
            for item in value.items() if isinstance(value, dict) else value:
                self.one(t[1:], item)
            struct.pack_into(self.order + "I", self.data, at, len(self.data) - start)
        else:
            self.align(8)
            self.all(t[1:-1], value)

    def all(self, signature, values):
        for t, value in zip(split(signature), values):
            self.one(t, value)


class Reader:
    def __init__(self, order, data, at=0):
        self.order, self.data, self.at = order, data, at

    def align(self, n):
        self.at += -self.at % n

    def fixed(self, code):
        size = struct.calcsize(code)
        self.align(size)
        value = struct.unpack_from(self.order + code, self.data, self.at)[0]
        self.at += size
        return value

    def take(self, n):
        self.at += n
        return bytes(self.data[self.at - n : self.at])

    def one(self, t):
        if t == "b":
            return bool(self.fixed("I"))
        if t in FIXED:
            return self.fixed(FIXED[t])
        if t in "so":
            value = self.take(self.fixed("I"))
            self.at += 1
            return value.decode()
        if t == "g":
            value = self.take(self.take(1)[0])
            self.at += 1
            return value.decode()
        if t == "v":
            return self.one(self.one("g"))
        if t == "ay":
            return self.take(self.fixed("I"))
        if t[0] == "a":
            size = self.fixed("I")
            self.align(ALIGNMENT.get(t[1], 4))
            end, values = self.at + size, []
            while self.at < end:
                values.append(self.one(t[1:]))
            return dict(values) if t[1] == "{" else values
        self.align(8)
        return tuple(self.all(t[1:-1]))

    def all(self, signature):
        return [self.one(t) for t in split(signature)]


class Message:
    FIELDS = {1: "path", 2: "interface", 3: "member", 4: "error", 5: "reply_to", 6: "destination",
              7: "sender", 8: "signature", 9: "n_fds"}

    def __init__(self, order, kind, serial, fields, body):
        self.order, self.kind, self.serial, self.raw_body = order, kind, serial, body
        self.path = self.interface = self.member = self.error = self.sender = None
        self.reply_to, self.signature, self.destination = 0, "", None
        for code, value in fields:
            setattr(self, self.FIELDS.get(code, "unknown"), value)

    @property
    def body(self):
        return Reader(self.order, self.raw_body).all(self.signature)


def build(kind, serial, fields, signature="", values=(), order="<", flags=0, body=None):
    """The bytes of a message; `body` replaces what the values would give."""
    if body is None:
        writer = Writer(order)
        writer.all(signature, values)
        body = bytes(writer.data)
    types = {1: "o", 2: "s", 3: "s", 4: "s", 5: "u", 6: "s", 7: "s", 8: "g", 9: "u"}
    if signature:
        fields = [*fields, (8, signature)]
    head = Writer(order)
    head.all("yyyyuua(yv)", [ord("l" if order == "<" else "B"), kind, flags, 1, len(body), serial,
                             [(code, (types[code], value)) for code, value in fields]])
    head.align(8)
    return bytes(head.data) + body


class Connection:
    def __init__(self, address, uid=None, hello=True):
        path = address.split("path=")[1].split(",")[0]
        self.serials = itertools.count(1)
        self.buffer, self.fds = bytearray(), []
        self.signals, self.replies = [], {}
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            if uid is None:
                self.socket.connect(path)
            else:
                self.connect_as(path, uid)
        except OSError:
            self.socket.close()
            raise
        uid = os.getuid() if uid is None else uid
        self.socket.sendall(b"\0AUTH EXTERNAL " + str(uid).encode().hex().encode() + b"\r\n")
        self.expect(b"OK ")
        self.socket.sendall(b"NEGOTIATE_UNIX_FD\r\n")
        self.expect(b"AGREE_UNIX_FD")
        self.socket.sendall(b"BEGIN\r\n")
        if hello:
            self.name = self.driver("Hello")[0]

    def groups_of(self, uid):
        """Those that this user connects with."""
        try:
            user = pwd.getpwuid(uid)
        except KeyError:
            return []
        return os.getgrouplist(user.pw_name, user.pw_gid)

    def connect_as(self, path, uid):
        """The peer's credentials are those of the moment of connect()."""
        groups = os.getgroups()
        os.setgroups(self.groups_of(uid))
        os.setresgid(uid, uid, 0)
        os.setresuid(uid, uid, 0)
        try:
            self.socket.connect(path)
        finally:
            os.setresuid(0, 0, 0)
            os.setresgid(0, 0, 0)
            os.setgroups(groups)

    def expect(self, start):
        line = b""
        while not line.endswith(b"\r\n"):
            c = self.socket.recv(1)
            if not c:
                raise Disconnected
            line += c
        assert line.startswith(start), line

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.close()

    def send(self, data, fds=()):
        try:
            if fds:
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
                n = self.socket.sendmsg([data], ancillary)
                data = data[n:]
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as e:
            raise Disconnected from e

    def send_call(self, path, interface, member, signature="", *values, order="<", fds=(),
                  destination="org.sluice1", body=None, flags=0):
        serial = next(self.serials)
        fields = [(1, path), (3, member), (6, destination)]
        if interface:
            fields.append((2, interface))
        if fds:
            fields.append((9, len(fds)))
        self.send(build(CALL, serial, fields, signature, values, order, flags, body), fds)
        return serial

    def read_message(self, timeout=LIMIT):
        """The next message, None if none comes in time."""
        end = time.monotonic() + timeout
        while True:
            message = self.parse()
            if message:
                return message
            left = max(0.0, end - time.monotonic())
            if not select.select([self.socket], [], [], left)[0]:
                return None
            try:
                data = self.socket.recv(1 << 20)
            except ConnectionResetError:
                data = b""
            if not data:
                raise Disconnected
            self.buffer += data

    def parse(self):
        if len(self.buffer) < 16:
            return None
        order = "<" if self.buffer[0] == ord("l") else ">"
        body_size, serial, fields_size = struct.unpack_from(order + "III", self.buffer, 4)
        start = 16 + fields_size + (-fields_size % 8)
        if len(self.buffer) < start + body_size:
            return None
        fields = Reader(order, self.buffer, 12).one("a(yv)")
        body = bytes(self.buffer[start : start + body_size])
        message = Message(order, self.buffer[1], serial, fields, body)
        del self.buffer[: start + body_size]
        return message

    def pump(self, timeout=LIMIT):
        message = self.read_message(timeout)
        if message is None:
            return False
        if message.kind == SIGNAL:
            self.signals.append(message)
        elif message.kind in (RETURN, ERROR):
            self.replies[message.reply_to] = message
        return True

    def reply(self, serial, timeout=LIMIT):
        end = time.monotonic() + timeout
        while serial not in self.replies:
            if not self.pump(end - time.monotonic()):
                raise TimeoutError(f"no reply in {timeout} s")
        return self.replies.pop(serial)

    def result(self, serial, timeout=LIMIT):
        reply = self.reply(serial, timeout)
        if reply.kind == ERROR:
            raise DBusError(reply.error, reply.body[0] if reply.signature else "")
        return reply.body

    def call(self, path, interface, member, signature="", *values, **options):
        return self.result(self.send_call(path, interface, member, signature, *values, **options))

    def driver(self, member, signature="", *values):
        return self.call("/org/freedesktop/DBus", "org.freedesktop.DBus", member, signature,
                         *values, destination="org.freedesktop.DBus")

    def manager(self, member, signature="", *values, **options):
        return self.call("/org/sluice1", "org.sluice1.Manager", member, signature, *values,
                         **options)

    def pool(self, name, member, signature="", *values, **options):
        return self.call("/org/sluice1/pool/" + name, "org.sluice1.Pool", member, signature,
                         *values, **options)

    def start(self, name, member, signature="", *values, **options):
        """A call of a pool whose reply is read later."""
        return self.send_call("/org/sluice1/pool/" + name, "org.sluice1.Pool", member, signature,
                              *values, **options)

    def get(self, path, interface, name):
        return self.call(path, "org.freedesktop.DBus.Properties", "Get", "ss", interface, name)[0]

    def get_pool(self, name, property):
        return self.get("/org/sluice1/pool/" + name, "org.sluice1.Pool", property)

    def wait_signal(self, member, true=lambda body: True):
        """The body of the next signal of that name, which is taken out."""
        end = time.monotonic() + LIMIT
        while True:
            for signal in self.signals:
                if signal.member == member and true(signal.body):
                    self.signals.remove(signal)
                    return signal.body
            if not self.pump(max(0.0, end - time.monotonic())):
                raise TimeoutError(f"no signal {member}")

    def is_closed(self):
        """Reads until the other side has closed, or nothing comes any more."""
        try:
            while self.pump(LIMIT):
                pass
        except Disconnected:
            return True
        return False
