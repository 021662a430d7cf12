"""What passed on the outer net, recorded on the switch: ESP numbers, IKE messages, packets in clear, announcements.

tcpdump writes the first bytes of every frame that crosses the outer bridge (each once, whoever sent it); afterwards the file is read
by a reader of our own. An ESP (SPI, sequence number), an IKE IV or an IKE message ID that is used twice breaks the third law,
whichever gateway sent it; an inner address on the outer net is a packet in clear.
"""

import collections
import ipaddress
import os
import re
import struct
import time
from dataclasses import dataclass, field

from .namespaces import INNER_NET, OUTER, OUTER_SHARED, POOL_NET, SITE_NET
from .processes import Process

#: libpcap hands a block of the kernel's ring over after a second at the latest; what is in an unread block dies with tcpdump.
FLUSH_S = 1.2
SNAPLEN = 192
#: Kernel buffer in KiB: over a second of 10,000 packets a second.
BUFFER_KIB = 16384
FILE_HEADER = struct.Struct("<IHHiIII")
RECORD = struct.Struct("<IIII")
PCAP_NANOSECONDS = 0xA1B23C4D
ETHERTYPE_IPV4, ETHERTYPE_ARP = 0x0800, 0x0806
UDP, ESP, PORT_NATT, PORT_IKE = 17, 50, 4500, 500
SK_PAYLOAD, SKF_PAYLOAD = 46, 53
IKE_SA_INIT, IKE_AUTH, INFORMATIONAL = 34, 35, 37
FLAG_INITIATOR, FLAG_RESPONSE = 0x08, 0x20
#: strongSwan's default.
REPLAY_WINDOW = 32
#: A session that moves keeps its SPIs: towards a gateway they name the SA whichever gateway it is.
GATEWAYS = {int(ipaddress.ip_address(address)) for address in (OUTER_SHARED, *OUTER.values())}
IKE_HEADER = struct.Struct("!QQBBBBII")


@dataclass
class Security:
    """One SPI as it was seen on the wire."""

    packets: int = 0
    first: float = 0.0
    last: float = 0.0
    highest: int = 0
    #: number → (hop limit, hash of what follows) of its first packet
    numbers: dict = field(default_factory=dict)
    senders: set = field(default_factory=set)


@dataclass
class Findings:
    """What a recording says. Times are monotonic seconds."""

    packets: int = 0
    esp: dict = field(default_factory=lambda: collections.defaultdict(Security))
    reused_numbers: list = field(default_factory=list)
    #: Packets that a host which had given up the address sent on to the one that has it now: the same octets, a smaller hop limit.
    forwarded: int = 0
    #: New numbers that came so far behind the highest that a receiver's window has left them: it must take them for replays.
    late_numbers: list = field(default_factory=list)
    reused_ivs: list = field(default_factory=list)
    reused_message_ids: list = field(default_factory=list)
    #: (time, initiator's SPI) of every IKE_SA_INIT request, and of every IKE SA's first IKE_AUTH request.
    inits: list = field(default_factory=list)
    authentications: list = field(default_factory=list)
    #: Further messages with message ID 0 of INFORMATIONAL exchanges: RFC 6311 section 5.1 has them on purpose.
    synchronizations: int = 0
    clear: list = field(default_factory=list)
    #: (time, sender's hardware address, destination IP) of every ESP packet, for the first packet after an event.
    esp_times: list = field(default_factory=list)
    #: (time, sender's hardware address, announced address)
    announcements: list = field(default_factory=list)

    def first_esp(self, sender, since):
        """When the first ESP packet of this hardware address was seen after `since`; None without one."""
        return next((t for t, mac, _ in self.esp_times if t >= since and mac == sender), None)

    def first_announcement(self, sender, since):
        return next((t for t, mac, _ in self.announcements if t >= since and mac == sender), None)


class Recorder:
    """A running tcpdump on a bridge of the switch."""

    def __init__(self, network, directory, bridge="outer"):
        self.path = os.path.join(directory, f"{bridge}.pcap")
        self._offset = time.time() - time.monotonic()
        self._process = Process(
            "tcpdump",
            ["tcpdump", "-Z", "root", "-n", "-i", bridge, "-s", SNAPLEN, "-B", BUFFER_KIB, "--time-stamp-precision=nano", "-w", self.path],
            network=network.name("switch"))
        self._process.wait_for("listening on", timeout=20)
        self.dropped = None

    def stop(self):
        """Ends the recording; `dropped` says how many packets the kernel could not keep for it (a check must see 0)."""
        if self._process.ended_by_us:
            return
        time.sleep(FLUSH_S)
        self._process.end()
        found = self._process.find(r"dropped by kernel")
        self.dropped = int(re.match(r"(\d+)", found[1]).group(1)) if found else None

    def findings(self, forger=None):
        """`forger`: the hardware address of a host that sends forged ESP and IKE, which say nothing of the pair."""
        return analyse(frames(self.path, self._offset), forger)


def frames(path, offset):
    """(monotonic seconds, frame) of a pcap file with nanoseconds; stops at a record that was cut short."""
    with open(path, "rb") as file:
        data = file.read()
    if len(data) < FILE_HEADER.size or FILE_HEADER.unpack_from(data)[0] != PCAP_NANOSECONDS:
        raise ValueError(f"{path} is not a pcap file with nanoseconds")
    position, size = FILE_HEADER.size, len(data)
    while position + RECORD.size <= size:
        seconds, nanoseconds, captured, _ = RECORD.unpack_from(data, position)
        position += RECORD.size
        if position + captured > size:
            return
        yield seconds + nanoseconds / 1e9 - offset, data[position : position + captured]
        position += captured


class _Seen:
    """What each IV and each message ID was first used for, by IKE SA and sender."""

    def __init__(self):
        self.ivs, self.messages, self.authentications = {}, {}, set()


def analyse(recording, forger=None):
    """Goes through a recording once."""
    found = Findings()
    inner = [(int(net.network_address), int(net.netmask)) for net in map(ipaddress.ip_network, (INNER_NET, POOL_NET, SITE_NET))]
    seen = _Seen()
    for when, frame in recording:
        found.packets += 1
        kind = frame[12] << 8 | frame[13]
        if kind == ETHERTYPE_ARP:
            if frame[28:32] == frame[38:42]:
                found.announcements.append((when, frame[22:28], str(ipaddress.ip_address(frame[28:32]))))
            continue
        if kind != ETHERTYPE_IPV4:
            continue
        source, destination = struct.unpack_from("!II", frame, 26)
        if any(address & mask == net for net, mask in inner for address in (source, destination)):
            found.clear.append((when, str(ipaddress.ip_address(source)), str(ipaddress.ip_address(destination)), frame[23]))
            continue
        if frame[6:12] == forger:
            continue
        _protected(found, seen, when, frame, destination)
    return found


def _protected(found, seen, when, frame, destination):
    protocol, start = frame[23], 14 + (frame[14] & 15) * 4
    if protocol == ESP:
        _esp(found, when, frame, start, destination)
    elif protocol == UDP and len(frame) >= start + 16:
        ports = struct.unpack_from("!HH", frame, start)
        if PORT_NATT in ports:
            if frame[start + 8 : start + 12] != b"\0\0\0\0":
                _esp(found, when, frame, start + 8, destination)
            else:
                _ike(found, seen, when, frame[start + 12 :])
        elif PORT_IKE in ports:
            _ike(found, seen, when, frame[start + 8 :])


def _esp(found, when, frame, start, destination):
    if len(frame) < start + 8:
        return
    spi, number = struct.unpack_from("!II", frame, start)
    seen = found.esp[("gateway" if destination in GATEWAYS else destination, spi)]
    first, this = seen.numbers.get(number), (frame[22], hash(frame[start:]))
    if first and first[1] == this[1] and this[0] < first[0]:
        found.forwarded += 1
        return
    if first:
        found.reused_numbers.append((when, f"{spi:08x}", number))
    elif number + REPLAY_WINDOW <= seen.highest:
        found.late_numbers.append((when, f"{spi:08x}", seen.highest - number))
    seen.highest = max(seen.highest, number)
    seen.numbers[number] = this
    seen.packets += 1
    seen.first = seen.first or when
    seen.last = when
    sender = frame[6:12]
    seen.senders.add(sender)
    found.esp_times.append((when, sender, destination))


def _ike(found, seen, when, text):
    """One IKE message, or a fragment of one; two with one number and the same octets are a retransmission."""
    if len(text) < IKE_HEADER.size + 20:
        return
    initiator, responder, following, _, exchange, flags, message_id, _ = IKE_HEADER.unpack_from(text)
    if exchange == IKE_SA_INIT and not flags & FLAG_RESPONSE:
        found.inits.append((when, f"{initiator:016x}"))
    if following not in (SK_PAYLOAD, SKF_PAYLOAD) or not responder:
        return
    if exchange == IKE_AUTH and initiator not in seen.authentications:
        seen.authentications.add(initiator)
        found.authentications.append((when, f"{initiator:016x}"))
    fragment = text[32:34] if following == SKF_PAYLOAD else b""
    # The 8-byte explicit IV of AES-GCM; which end sent it says which key it is.
    iv = text[36:44] if following == SKF_PAYLOAD else text[32:40]
    if seen.ivs.setdefault((initiator, responder, flags & FLAG_INITIATOR, iv), text) != text:
        found.reused_ivs.append((when, f"{initiator:016x}", iv.hex()))
    number = (initiator, responder, flags & (FLAG_INITIATOR | FLAG_RESPONSE), message_id, fragment)
    if seen.messages.setdefault(number, text) != text:
        if message_id == 0 and exchange == INFORMATIONAL:
            found.synchronizations += 1
        else:
            found.reused_message_ids.append((when, f"{initiator:016x}", message_id))
