"""What passes on the outer net, looked at while it passes: IKE messages, how ESP travels, and anything in clear.

Every IKE frame, and what is in clear, is also written to a pcap file, for the logs of a row that failed.
"""

import collections
import ipaddress
import socket
import struct
import threading
import time
from dataclasses import dataclass

from .. import kernel
from .network import BRANCH_NET, INNER_NET, POOL_NET

ETHERTYPE_IPV4, ETHERTYPE_IPV6 = 0x0800, 0x86DD
UDP, ESP = 17, 50
SKF_PAYLOAD = 53
INFORMATIONAL, CREATE_CHILD_SA = 37, 36
FLAG_INITIATOR, FLAG_RESPONSE = 0x08, 0x20
SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC = 263, 1, 1
PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
MESSAGES_MAX = 100_000


@dataclass(frozen=True)
class IKEMessage:
    """The header of one IKE message as it was seen."""

    time: float
    source: str
    spis: tuple
    exchange: int
    flags: int
    message_id: int
    is_fragment: bool

    @property
    def is_response(self):
        return bool(self.flags & FLAG_RESPONSE)


class Watch:
    """A thread on the outer bridge. `begin(path)` starts a row's record."""

    def __init__(self, network):
        with kernel.inside(network.name("switch")):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            index = socket.if_nametoindex("outer")
        self._socket.bind(("outer", 3))
        # A bridge hands frames between its ports to its own device only while that is promiscuous.
        self._socket.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, struct.pack("iHH8s", index, PACKET_MR_PROMISC, 0, b""))
        self._inner = [ipaddress.ip_network(net[version]) for net in (INNER_NET, BRANCH_NET, POOL_NET) for version in (4, 6)]
        self._file, self._kept = None, 0
        self.begin(None)
        threading.Thread(target=self._run, daemon=True).start()

    def begin(self, path):
        self.messages, self.clear, self.esp = [], [], collections.Counter()
        old, self._file, self._kept = self._file, None, 0
        if old:
            old.close()
        if path:
            file = open(path, "wb")
            file.write(PCAP_HEADER)
            self._file = file

    def close(self):
        self._socket.close()

    def answered(self, exchange, since, requester=None, not_requester=None):
        """How many requests of an exchange since then were answered; of one side only, by its address."""
        requests, answers = set(), set()
        for message in list(self.messages):
            if message.time < since or message.exchange != exchange:
                continue
            key = (message.spis, message.message_id, bool(message.flags & FLAG_INITIATOR) != message.is_response)
            if message.is_response:
                answers.add(key)
            elif (requester is None or message.source == requester) and message.source != not_requester:
                requests.add(key)
        return len(requests & answers)

    def requested(self, exchange, since, gateway):
        """Whether the side that is not the gateway began an exchange since then."""
        return any(
            message.exchange == exchange and not message.is_response and message.source != gateway
            for message in list(self.messages) if message.time >= since)

    def crossed(self, since, gateway):
        """Whether a CREATE_CHILD_SA request of each side was on its way before the other's was answered."""
        first = {}
        for message in list(self.messages):
            if message.time >= since and message.exchange == CREATE_CHILD_SA:
                if message.is_response:
                    return False
                first[message.source == gateway] = message
                if len(first) == 2:
                    return True
        return False

    def fragments_from(self):
        """The addresses that sent IKE fragments."""
        return {message.source for message in list(self.messages) if message.is_fragment}

    def _run(self):
        while True:
            try:
                frame = self._socket.recv(65535)
            except OSError:
                return
            try:
                self._look(time.monotonic(), frame)
            except (IndexError, struct.error):
                continue  # shorter than what it says it is: none of ours

    def _look(self, now, frame):
        kind = frame[12] << 8 | frame[13]
        if kind == ETHERTYPE_IPV4:
            protocol, start = frame[23], 14 + (frame[14] & 15) * 4
            source, destination = ipaddress.ip_address(frame[26:30]), ipaddress.ip_address(frame[30:34])
        elif kind == ETHERTYPE_IPV6:
            protocol, start = frame[20], 54
            source, destination = ipaddress.ip_address(frame[22:38]), ipaddress.ip_address(frame[38:54])
        else:
            return
        if any(address in net for net in self._inner for address in (source, destination)):
            self.clear.append((str(source), str(destination), protocol))
            self._keep(frame)
        elif protocol == ESP:
            self.esp["plain"] += 1
        elif protocol == UDP:
            ports = struct.unpack_from("!HH", frame, start)
            if 4500 in ports:
                if len(frame) < start + 12:
                    return
                if frame[start + 8 : start + 12] != b"\0\0\0\0":
                    self.esp["udp"] += 1
                else:
                    self._ike(now, frame, start + 12, str(source))
            elif 500 in ports:
                self._ike(now, frame, start + 8, str(source))

    def _ike(self, now, frame, start, source):
        initiator, responder, following, _, exchange, flags, number = struct.unpack_from("!QQBBBBI", frame, start)
        if len(self.messages) < MESSAGES_MAX:
            self.messages.append(
                IKEMessage(now, source, (initiator, responder), exchange, flags, number, following == SKF_PAYLOAD))
        self._keep(frame)

    def _keep(self, frame):
        if self._file and self._kept < MESSAGES_MAX:
            wall = time.time()
            self._file.write(struct.pack("<IIII", int(wall), int(wall % 1 * 1e6), len(frame), len(frame)) + frame)
            self._kept += 1
