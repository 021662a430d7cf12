"""Numbered UDP probes in both directions, and what they say of an interruption.

Run as a program this is one endpoint: it sends to the other at a rate and writes down what it sent and what came.
`rate N` on standard input changes the rate; the end of standard input ends it. Two append-only files grow while it runs:
`PREFIX.sent` with (number, time sent) and `PREFIX.received` with (number, time sent, time received), in nanoseconds of
CLOCK_MONOTONIC, which is one clock for all namespaces. The time received is the kernel's, so that a late Python is not
taken for a late packet.
"""

import os
import select
import socket
import struct
import sys
import time
from dataclasses import dataclass

from .processes import Process, wait_until

SENT = struct.Struct("<QQ")
RECEIVED = struct.Struct("<QQQ")
MAGIC = b"probe\0\0\0"
PACKET = struct.Struct("<8sQQ")
SO_TIMESTAMPNS = 35
TIMESPEC = struct.Struct("qq")
FLUSH_NS = 50_000_000
BAIT_NS = 50_000_000


class Endpoint:
    """The sending and receiving program."""

    def __init__(self, prefix, local, remote, rate, bait=None):
        self.interval = int(1e9 / rate)
        self.remote, self.bait = remote, bait
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.setblocking(False)
        self.socket.bind(local)
        self.sent = open(f"{prefix}.sent", "ab", buffering=1 << 16)
        self.received = open(f"{prefix}.received", "ab", buffering=1 << 16)
        self.number = 0

    def run(self):
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        poll.register(0, select.POLLIN | select.POLLHUP)
        commands = b""
        due = flush = bait = time.monotonic_ns()
        while True:
            now = time.monotonic_ns()
            if now >= due:
                self._send(now)
                due = max(due + self.interval, now - 5 * self.interval)
            if now >= flush:
                self.sent.flush()
                self.received.flush()
                flush = now + FLUSH_NS
            if self.bait and now >= bait:
                self._quietly(b"bait", self.bait)
                bait = now + BAIT_NS
            wait_ms = max(0.0, (due - time.monotonic_ns()) / 1e6)
            for descriptor, _ in poll.poll(wait_ms if wait_ms == 0 or wait_ms >= 1 else 1):
                if descriptor != 0:
                    self._receive()
                    continue
                more = os.read(0, 4096)
                if not more:
                    self.sent.flush()
                    self.received.flush()
                    return
                commands += more
                while b"\n" in commands:
                    line, commands = commands.split(b"\n", 1)
                    self.interval = int(1e9 / float(line.split()[1]))
                    due = time.monotonic_ns()

    def _send(self, now):
        self._quietly(PACKET.pack(MAGIC, self.number, now), self.remote)
        self.sent.write(SENT.pack(self.number, now))
        self.number += 1

    def _quietly(self, data, remote):
        """A send that fails (no route, no buffer) is a probe that is lost, and is seen as that."""
        try:
            self.socket.sendto(data, remote)
        except OSError:
            pass

    def _receive(self):
        offset = time.clock_gettime_ns(time.CLOCK_REALTIME) - time.monotonic_ns()
        while True:
            try:
                data, ancillary, _, _ = self.socket.recvmsg(64, 64)
            except OSError:
                return
            if len(data) != PACKET.size or data[:8] != MAGIC:
                continue
            _, number, sent = PACKET.unpack(data)
            seconds, nanoseconds = TIMESPEC.unpack(ancillary[0][2][: TIMESPEC.size])
            self.received.write(RECEIVED.pack(number, sent, seconds * 1_000_000_000 + nanoseconds - offset))


@dataclass
class Interruption:
    """What one direction's probes say of a span of time."""

    blackout_ms: float
    lost: int
    sent: int
    #: When the last probe before and the first probe after the longest gap were received (monotonic seconds).
    last_before: float
    first_after: float
    #: The longest time between two sends in the span: a late sender shows here.
    sender_stall_ms: float


class Direction:
    """The records of one direction: what one endpoint sent and the other received."""

    def __init__(self, key, name, sent_path, received_path):
        self.key, self.name, self.sent_path, self.received_path = key, name, sent_path, received_path

    def read(self):
        """(sent, received) as lists of tuples, each in the order of the file."""
        return _records(self.sent_path, SENT), _records(self.received_path, RECEIVED)

    def last_received(self):
        """When the newest probe that is on record was received, in monotonic seconds; 0 without one."""
        try:
            with open(self.received_path, "rb") as file:
                size = os.fstat(file.fileno()).st_size // RECEIVED.size * RECEIVED.size
                if size == 0:
                    return 0.0
                file.seek(size - RECEIVED.size)
                return RECEIVED.unpack(file.read(RECEIVED.size))[2] / 1e9
        except FileNotFoundError:
            return 0.0

    def interruption(self, start, end, interval_ms, records=None):
        """The longest gap between two received probes that reaches into [start, end], less the interval; and what was lost.

        Time in which the sender itself did not run does not count: it runs before all else, so the machine stood still.
        Times are monotonic seconds. A gap that is open at `end` counts up to `end`. Lost is what was sent in the span and
        is not among all that was ever received.
        """
        sent, received = records or self.read()
        first_ns, last_ns = int(start * 1e9), int(end * 1e9)
        times = sorted(record[2] for record in received)
        before = [t for t in times if t < first_ns]
        inside = [t for t in times if first_ns <= t <= last_ns]
        after = next((t for t in times if t > last_ns), None)
        points = ([before[-1]] if before else [first_ns]) + inside + [last_ns if after is None else min(after, last_ns)]
        stalls = [stall for stall in _stalls(sent, interval_ms) if stall[1] > points[0] and stall[0] < points[-1]]
        gap, left, right = max((b - a - _overlap(stalls, a, b), a, b) for a, b in zip(points, points[1:]))
        arrived = {record[0] for record in received}
        span = [record for record in sent if first_ns <= record[1] <= last_ns]
        stall = max((b[1] - a[1] for a, b in zip(span, span[1:])), default=0)
        return Interruption(
            blackout_ms=max(0.0, gap / 1e6 - interval_ms), lost=sum(1 for number, _ in span if number not in arrived), sent=len(span),
            last_before=left / 1e9, first_after=right / 1e9, sender_stall_ms=stall / 1e6)


def _records(path, layout):
    with open(path, "rb") as file:
        data = file.read()
    return list(layout.iter_unpack(data[: len(data) // layout.size * layout.size]))


#: A sender that is late by less was only waiting for its turn.
STALL_NS = 5_000_000


def _stalls(sent, interval_ms):
    """The spans in which a probe was due and none was sent, as (begin, end) in nanoseconds."""
    interval = int(interval_ms * 1e6)
    return [(a[1] + interval, b[1]) for a, b in zip(sent, sent[1:]) if b[1] - a[1] > interval + STALL_NS]


def _overlap(stalls, begin, end):
    return sum(max(0, min(end, b) - max(begin, a)) for a, b in stalls)


class ProbePair:
    """Both endpoints, as processes in a client's and the server's namespace."""

    PORT = 7007

    def __init__(self, network, directory, client_address, server_address, rate=100, bait=None, run_id="", host="client", port=PORT):
        self.rate = rate
        hosts = {"client": host, "server": "server"}
        prefixes = {side: os.path.join(directory, f"probes{run_id}-{side}") for side in ("client", "server")}
        ends = {"client": (client_address, server_address, None), "server": (server_address, client_address, bait)}
        self._processes = []
        for side, (local, remote, lure) in ends.items():
            arguments = [sys.executable, "-m", "tandemlab.probes", prefixes[side], local, remote, rate, *([lure] if lure else [])]
            self._processes.append(Process(
                f"probes-{side}", [*arguments, port], network=network.name(hosts[side]), environment=_python_path()))
        self.up = Direction("client_to_server", "client → server", f"{prefixes['client']}.sent", f"{prefixes['server']}.received")
        self.down = Direction("server_to_client", "server → client", f"{prefixes['server']}.sent", f"{prefixes['client']}.received")

    @property
    def directions(self):
        return (self.up, self.down)

    def set_rate(self, rate):
        self.rate = rate
        for process in self._processes:
            process.tell(f"rate {rate}")

    def wait_flowing(self, since, timeout=10.0):
        """Waits until both directions have a probe received after `since`."""
        wait_until("probes in both directions", lambda: all(d.last_received() > since for d in self.directions), timeout)

    def stop(self):
        for process in self._processes:
            if process.alive:
                process.end_of_input()
        for process in self._processes:
            process.end()


def _python_path():
    return {"PYTHONPATH": os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}


def main(arguments):
    prefix, local, remote, rate, *bait, port = arguments
    if os.cpu_count() > 1:  # a busy machine must not look like a lost gateway; on a single CPU the gateways come first
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    lure = (bait[0], int(port)) if bait else None
    Endpoint(prefix, (local, int(port)), (remote, int(port)), float(rate), lure).run()


if __name__ == "__main__":
    main(sys.argv[1:])
