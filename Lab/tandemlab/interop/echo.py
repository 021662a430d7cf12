"""Traffic through the tunnel: datagrams with checksums that must come back, and a stream that shows an interruption."""

import hashlib
import os
import select
import socket
import threading
import time

from .. import kernel

PORT = 9030
#: One of each: a short one, usual ones, one that just fits the path.
SIZES = (1, 64, 200, 512, 1000, 1280)
#: How long a datagram may take: one slow CPU, and the crossing delay.
PATIENCE_S = 1.5
STREAM_INTERVAL_S = 0.05


class Echo:
    """The two ends of a tunnel, as sockets of this program in the namespaces of `server` and `peer`."""

    def __init__(self, network, server, inner):
        self.far_address, self.near_address = inner, server
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        self.far = self._bound(network.name("peer"), family, inner)
        self.near = self._bound(network.name("server"), family, server)

    def close(self):
        self.far.close()
        self.near.close()

    def exchange(self):
        """Each size from the server to the peer and back. Returns (how many came back unharmed, how many were sent)."""
        self._drain()
        good = 0
        for size in SIZES:
            data = os.urandom(size)
            data += hashlib.sha256(data).digest()
            self.send(self.near, data, self.far_address)
            there = self._receive(self.far)
            if there is None or hashlib.sha256(there[:-32]).digest() != there[-32:]:
                continue
            self.send(self.far, there, self.near_address)
            good += self._receive(self.near) == data
        return good, len(SIZES)

    def wait_flowing(self, timeout=10.0):
        """Whether a datagram comes back within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        self._drain()
        while time.monotonic() < deadline:
            data = os.urandom(16)
            self.send(self.near, data, self.far_address)
            if self._receive(self.far, 0.3) == data:
                self.send(self.far, data, self.near_address)
                if self._receive(self.near, 0.3) == data:
                    return True
            self._drain()
        return False

    def pump(self, count, size=1300):
        """Datagrams from the peer to the server, for lifetimes that are counted in octets."""
        data = bytes(size)
        for number in range(count):
            self.send(self.far, data, self.near_address)
            if number % 32 == 31:
                self._drain()

    def _drain(self):
        for end in (self.near, self.far):
            while True:
                try:
                    end.recv(2048)
                except OSError:
                    break

    def _receive(self, end, patience=PATIENCE_S):
        if not select.select([end], [], [], patience)[0]:
            return None
        try:
            return end.recv(2048)
        except OSError:
            return None

    def send(self, end, data, address):
        try:
            end.sendto(data, (address, PORT))
        except OSError:
            pass  # no route or no policy at the moment: it is lost, and is seen as that

    @staticmethod
    def _bound(namespace, family, address):
        with kernel.inside(namespace):
            end = socket.socket(family, socket.SOCK_DGRAM)
        end.setblocking(False)
        end.bind((address, PORT))
        return end


class Stream:
    """Numbered datagrams both ways, from a thread, until `stop`. Its blackout is the longest time without one in a direction."""

    def __init__(self, echo):
        self._echo, self._ended = echo, threading.Event()
        self.received = {"up": [time.monotonic()], "down": [time.monotonic()]}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        echo = self._echo
        ends = {echo.far: "down", echo.near: "up"}
        while not self._ended.is_set():
            echo.send(echo.near, b"down", echo.far_address)
            echo.send(echo.far, b"up", echo.near_address)
            until = time.monotonic() + STREAM_INTERVAL_S
            while (left := until - time.monotonic()) > 0:
                for end in select.select(list(ends), [], [], left)[0]:
                    try:
                        end.recv(2048)
                        self.received[ends[end]].append(time.monotonic())
                    except OSError:
                        pass

    def flows_since(self, since):
        return all(times[-1] > since for times in self.received.values())

    def stop(self):
        """Ends it; returns the longest interruption in milliseconds, by direction."""
        self._ended.set()
        self._thread.join()
        now = time.monotonic()
        gaps = {name: max(b - a for a, b in zip(times, [*times[1:], now])) for name, times in self.received.items()}
        return {name: max(0.0, gap - STREAM_INTERVAL_S) * 1e3 for name, gap in gaps.items()}
