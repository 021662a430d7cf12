"""Somebody on a host's cable who sees each of its frames before the switch does: lets it pass, keeps it for later, or throws it away.

Whoever asks for it decides at that very frame, and may do something at that moment. Slow (a frame at a time, in Python): for handshakes,
not for streams.
"""

import ctypes
import enum
import fcntl
import select
import socket
import struct
import threading
from dataclasses import dataclass

from . import kernel
from .capture import ETHERTYPE_IPV4, FLAG_RESPONSE, IKE_HEADER, PORT_IKE, PORT_NATT, SKF_PAYLOAD, UDP

ETH_P_ALL = 3
PACKET_OUTGOING = 4
SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17
FRAME_MAX = 65536


class Verdict(enum.Enum):
    PASS = "pass"
    HOLD = "hold"
    DROP = "drop"


@dataclass(frozen=True)
class IKEMessage:
    """What the header of an IKE message says, and whether the host sends it or gets it."""

    exchange: int
    is_response: bool
    message_id: int
    responder_spi: int
    #: Of a fragment its number, else 0.
    fragment: int
    to_host: bool


class Gatekeeper:
    """In the place of the host's port on the bridge. `rule` is asked about every IKE message; everything else passes."""

    def __init__(self, network, host="client", bridge="outer", peers=("sg1", "sg2")):
        self.rule = lambda message: Verdict.PASS
        self._held, self._lock = [], threading.Lock()
        port = f"{bridge[0]}-{host}"
        network.batch("switch", [
            f"link set dev {port} nomaster", "link add k-host type veth peer name k-switch", f"link set dev k-switch master {bridge} up",
            "link set dev k-host up"])
        # What is read from a cable must have its checksum: the kernel would leave it to a network card that is not there.
        for name in (host, *peers):
            with kernel.inside(network.name(name)):
                _compute_checksums("eth0")
        with kernel.inside(network.name("switch")):
            self._host, self._switch = _cable(port), _cable("k-host")
        self._stopping, self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def release(self):
        """Lets pass what was kept, in its order."""
        with self._lock:
            held, self._held = self._held, []
        for out, frame in held:
            out.send(frame)
        return len(held)

    def forget(self):
        """Throws away what was kept; returns how much it was."""
        with self._lock:
            held, self._held = self._held, []
        return len(held)

    def stop(self):
        self._wake.send(b".")
        self._thread.join()
        for each in (self._host, self._switch, self._stopping, self._wake):
            each.close()

    def _carry(self):
        while True:
            ready, _, _ = select.select([self._host, self._switch, self._stopping], [], [])
            if self._stopping in ready:
                return
            for source in ready:
                frame, address = source.recvfrom(FRAME_MAX)
                if address[2] == PACKET_OUTGOING:
                    continue
                out = self._switch if source is self._host else self._host
                self._judge(frame, out)

    def _judge(self, frame, out):
        message = _ike(frame, to_host=out is self._host)
        verdict = self.rule(message) if message else Verdict.PASS
        if verdict is Verdict.HOLD:
            with self._lock:
                self._held.append((out, frame))
        elif verdict is Verdict.PASS:
            try:
                out.send(frame)
            except OSError:
                # A cable that is out.
                pass


def _cable(interface):
    cable = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    cable.bind((interface, ETH_P_ALL))
    return cable


def _compute_checksums(interface):
    value = ctypes.create_string_buffer(struct.pack("=II", ETHTOOL_STXCSUM, 0))
    request = struct.pack("=16sQ16x", interface.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe.fileno(), SIOCETHTOOL, request)


def _ike(frame, to_host):
    if frame[12] << 8 | frame[13] != ETHERTYPE_IPV4 or frame[23] != UDP:
        return None
    start = 14 + (frame[14] & 15) * 4
    ports = struct.unpack_from("!HH", frame, start)
    if PORT_NATT in ports and frame[start + 8 : start + 12] == b"\0\0\0\0":
        text = frame[start + 12 :]
    elif PORT_IKE in ports:
        text = frame[start + 8 :]
    else:
        return None
    if len(text) < IKE_HEADER.size + 8:
        return None
    _, responder, following, _, exchange, flags, message_id, _ = IKE_HEADER.unpack_from(text)
    fragment = struct.unpack_from("!H", text, 32)[0] if following == SKF_PAYLOAD else 0
    return IKEMessage(exchange, bool(flags & FLAG_RESPONSE), message_id, responder, fragment, to_host)
