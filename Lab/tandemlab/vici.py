"""A client of VICI, strongSwan's control protocol: enough to ask a charon or a tandemd without starting a program."""

import socket
import struct

REQUEST, RESPONSE, UNKNOWN, REGISTER, UNREGISTER, CONFIRM, EVENT_UNKNOWN, EVENT = range(8)
SECTION_START, SECTION_END, KEY_VALUE, LIST_START, LIST_ITEM, LIST_END = range(1, 7)


class ViciError(Exception):
    """The other side did not understand, or answered success = no."""


def encode(message):
    """A dict of str, list of str, and dict as a VICI message."""
    parts = []
    for key, value in message.items():
        name = bytes([len(key)]) + key.encode()
        if isinstance(value, dict):
            parts += [bytes([SECTION_START]), name, encode(value), bytes([SECTION_END])]
        elif isinstance(value, (list, tuple)):
            items = [bytes([LIST_ITEM]) + _value(item) for item in value]
            parts += [bytes([LIST_START]), name, *items, bytes([LIST_END])]
        else:
            parts += [bytes([KEY_VALUE]), name, _value(value)]
    return b"".join(parts)


def _value(value):
    raw = str(value).encode()
    return struct.pack("!H", len(raw)) + raw


def decode(data):
    """A VICI message as a dict."""
    root, offset, stack, items = {}, 0, [], None
    current = root

    def text(width):
        nonlocal offset
        length = int.from_bytes(data[offset : offset + width], "big")
        offset += width + length
        return data[offset - length : offset].decode(errors="replace")

    while offset < len(data):
        kind = data[offset]
        offset += 1
        if kind == SECTION_START:
            stack.append(current)
            current = current.setdefault(text(1), {})
        elif kind == SECTION_END:
            current = stack.pop()
        elif kind == KEY_VALUE:
            key = text(1)
            current[key] = text(2)
        elif kind == LIST_START:
            items = current.setdefault(text(1), [])
        elif kind == LIST_ITEM:
            items.append(text(2))
        elif kind == LIST_END:
            items = None
        else:
            raise ViciError(f"element type {kind}")
    return root


class Vici:
    """One connection to a VICI socket."""

    def __init__(self, path, timeout=10.0):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        self._socket.connect(str(path))

    def close(self):
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def request(self, command, message=None, must_succeed=True):
        """One command and its response."""
        self._send(REQUEST, command, encode(message or {}))
        while True:
            kind, _, body = self._receive()
            if kind == EVENT:
                continue
            if kind != RESPONSE:
                raise ViciError(f"{command}: answered with packet type {kind}")
            answer = decode(body)
            if must_succeed and answer.get("success", "yes") != "yes":
                raise ViciError(f"{command}: {answer.get('errmsg', 'failed')}")
            return answer

    def stream(self, command, event, message=None):
        """A command whose answer comes as events, in a list."""
        self._send(REGISTER, event)
        if self._receive()[0] != CONFIRM:
            raise ViciError(f"event {event} is not known")
        self._send(REQUEST, command, encode(message or {}))
        found = []
        while True:
            kind, name, body = self._receive()
            if kind == EVENT and name == event:
                found.append(decode(body))
            elif kind == RESPONSE:
                self._send(UNREGISTER, event)
                self._receive()
                return found
            elif kind != EVENT:
                raise ViciError(f"{command}: answered with packet type {kind}")

    def _send(self, kind, name, body=b""):
        packet = bytes([kind, len(name)]) + name.encode() + body
        self._socket.sendall(struct.pack("!I", len(packet)) + packet)

    def _receive(self):
        packet = self._exactly(int.from_bytes(self._exactly(4), "big"))
        kind = packet[0]
        if kind in (REQUEST, REGISTER, UNREGISTER, EVENT):
            end = 2 + packet[1]
            return kind, packet[2:end].decode(), packet[end:]
        return kind, None, packet[1:]

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise ViciError("connection closed")
            data += more
        return data
