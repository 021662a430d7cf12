"""One long HTTP download, paced by the server, with a checksum at both ends.

Run as a program it is `serve` or `fetch`. The server streams (chunked) until it has sent the wanted number of bytes *and*
has been told `finish` on standard input, so that the download outlasts whatever the lab does meanwhile. Both print one JSON line at the
end; the reader also appends (time ns, bytes so far) to a file.
"""

import hashlib
import http.client
import http.server
import json
import os
import random
import socket
import struct
import sys
import threading
import time

from .processes import LabError, Process

PROGRESS = struct.Struct("<QQ")
CHUNK = 8 * 1024
PORT = 8080
PROGRESS_NS = 10_000_000
#: Longer than anything that a lab lets a download wait for; the paper has nothing for a minute.
SILENCE_SECONDS = 300
SEED = 7296


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends pseudo-random bytes at `server.rate` bytes a second."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        server.requests += 1
        digest, total, source = hashlib.sha256(), 0, random.Random(SEED).randbytes(64 * CHUNK)
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        started = time.monotonic()
        while total < server.wanted or not server.finish.is_set():
            offset = total // CHUNK % 63 * CHUNK + total // (63 * CHUNK) % CHUNK
            piece = source[offset : offset + CHUNK]
            self.wfile.write(b"%x\r\n%b\r\n" % (CHUNK, piece))
            digest.update(piece)
            total += CHUNK
            early = started + total / server.rate - time.monotonic()
            if early > 0:
                time.sleep(early)
            elif early < -0.5:
                started -= early  # after an interruption go on at the rate, do not catch up
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()
        server.result = {
            "sha256": digest.hexdigest(), "bytes": total, "connections": server.connections, "requests": server.requests,
            "local": endpoint(self.connection.getsockname()), "remote": endpoint(self.connection.getpeername())}
        self.close_connection = True
        server.done.set()



def endpoint(address):
    return f"{address[0]}:{address[1]}"


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address, rate, wanted):
        super().__init__(address, Handler)
        self.rate, self.wanted = rate, wanted
        self.connections = self.requests = 0
        self.finish, self.done, self.result = threading.Event(), threading.Event(), None

    def get_request(self):
        self.connections += 1
        return super().get_request()


def serve(address, rate, wanted):
    server = Server((address, PORT), float(rate), int(float(wanted)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("serving", flush=True)
    for line in sys.stdin:
        if line.strip() == "finish":
            server.finish.set()
            break
    server.done.wait()
    print(json.dumps(server.result), flush=True)


def fetch(local, server, progress_path):
    connection = http.client.HTTPConnection(server, PORT, timeout=SILENCE_SECONDS, source_address=(local, 0))
    connection.connect()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    opened = identity(connection.sock)
    print(json.dumps({"opened": opened}), flush=True)
    held = connection.sock
    connection.request("GET", "/download")
    response = connection.getresponse()
    digest, total, noted = hashlib.sha256(), 0, 0
    with open(progress_path, "ab", buffering=0) as progress:
        while True:
            piece = response.read1(CHUNK)
            if not piece:
                break
            digest.update(piece)
            total += len(piece)
            now = time.monotonic_ns()
            if now - noted >= PROGRESS_NS:
                progress.write(PROGRESS.pack(now, total))
                noted = now
    print(json.dumps({"sha256": digest.hexdigest(), "bytes": total, "opened": opened, "closed": identity(held, opened)}), flush=True)


def identity(sock, otherwise=None):
    """The TCP connection as this end knows it: both addresses and the kernel's inode of the socket."""
    try:
        return {
            "local": endpoint(sock.getsockname()), "remote": endpoint(sock.getpeername()), "inode": os.fstat(sock.fileno()).st_ino}
    except OSError:
        # The server closed first and the answer is complete: the socket has no peer any more, it is still the same one.
        return {**(otherwise or {}), "inode": os.fstat(sock.fileno()).st_ino if sock.fileno() >= 0 else None}


class Download:
    """Server and reader as processes of the lab."""

    def __init__(self, network, directory, client_address, server_address, rate, wanted):
        self.progress_path = os.path.join(directory, "download.progress")
        self.rate = rate
        environment = {"PYTHONPATH": os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}
        program = [sys.executable, "-m", "tandemlab.download"]
        self.server = Process(
            "http-server", [*program, "serve", server_address, rate, wanted], network=network.name("server"), environment=environment)
        self.server.wait_for("serving", timeout=20)
        self.reader = Process(
            "http-reader", [*program, "fetch", client_address, server_address, self.progress_path],
            network=network.name("client"), environment=environment)
        _, line = self.reader.wait_for('"opened"', timeout=20)
        self.opened = json.loads(line)["opened"]

    def finish(self, timeout):
        """Lets the server end once it has sent what was wanted. Returns (server's, reader's) result."""
        self.server.tell("finish")
        # The reader first: one that broke off is seen at once, while the server waits for it.
        fetched, served = (json.loads(end.wait_for('"sha256"', timeout=timeout)[1]) for end in (self.reader, self.server))
        return served, fetched

    def bytes_so_far(self):
        records = self.progress()
        return records[-1][1] if records else 0

    def progress(self):
        """(monotonic seconds, bytes received so far) every 10 ms or so."""
        try:
            with open(self.progress_path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return []
        return [(t / 1e9, n) for t, n in PROGRESS.iter_unpack(data[: len(data) // PROGRESS.size * PROGRESS.size])]

    def check_alive(self):
        if not self.reader.alive:
            raise LabError(f"the download broke off\n{self.reader.tail()}\n{self.server.tail()}")

    def stop(self):
        for process in (self.reader, self.server):
            process.end(timeout=1.0)


if __name__ == "__main__":
    {"serve": serve, "fetch": fetch}[sys.argv[1]](*sys.argv[2:])
