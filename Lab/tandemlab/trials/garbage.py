"""Random and nearly right bytes on every socket: counted, and harmless."""

import random
import socket
import ssl
import struct
import time

from .. import kernel
from ..namespaces import INNER, OUTER_SHARED, PAIR
from ..vici import REGISTER, REQUEST, Vici
from .span import Quiet

SEED = 4500
DATAGRAMS = 600
#: What the name of a counter of bad input has in it.
COUNTED = ("drop", "reject", "refus", "malformed", "truncated", "bad", "stale", "error", "fail", "unauthent", "invalid")
IKE_HEADER = struct.Struct("!QQBBBBII")


def garbage(lab, checks, active, standby):
    quiet = Quiet(lab, checks)
    source = random.Random(SEED)
    proof = lab.client.proof()
    trials = {
        "garbage on UDP 500 and 4500": lambda: _ike(lab, source, proof),
        "garbage on the heartbeat port": lambda: _heartbeats(lab, source, active, standby),
        "garbage on the pair link": lambda: _link(lab, source, active, standby),
        "garbage on the control socket": lambda: _control(source, active),
    }
    for name, send in trials.items():
        before = counters(active)
        with quiet.during(name):
            send()
        time.sleep(0.2)
        grown = {key: value - before.get(key, 0) for key, value in counters(active).items() if value > before.get(key, 0)}
        dropped = {key: value for key, value in grown.items() if any(word in key for word in COUNTED)}
        checks.expect(f"{name} is counted", bool(dropped), str(dropped or grown))
        state = active.status() or {}
        checks.expect(
            f"{name}: still active and paired", state.get("role") == "active" and state.get("pair_state") == "paired",
            f"{state.get('role')}, {state.get('pair_state')}: {state.get('pair_reason')}")


def counters(gateway):
    return {key: int(value) for key, value in (gateway.status() or {}).get("counters", {}).items()}


def _ike(lab, source, proof):
    """From a stranger: noise, headers with wild lengths and versions, and the established SAs' own SPIs with noise behind."""
    spis = [int(spi, 16) for spi in proof.ike_spis]
    esp = int(proof.child_spis[1], 16)
    with kernel.inside(lab.network.name("stranger")):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        for index in range(DATAGRAMS):
            port, body = (500, b"") if index % 2 else (4500, b"\0\0\0\0")
            noise = source.randbytes(source.choice((0, 1, 3, 4, 27, 28, 29, 60, 300, 1400)))
            kind = index % 6
            if kind == 1:
                body += _header(source.getrandbits(64), 0, 33, 0x20, 34, 0x08, 0, len(noise)) + noise
            elif kind == 2:
                body += _header(*spis, 46, 0x20, 37, 0x08, source.randrange(8), len(noise)) + noise
            elif kind == 3:
                version = source.choice((0x10, 0x20, 0x30, 0x2F))
                body += _header(*spis, source.randrange(256), version, source.randrange(256), 0x08, 2**32 - 1, 9) + noise
            elif kind == 4:
                port, body = 4500, struct.pack("!II", esp, source.getrandbits(32)) + noise
            else:
                body = noise
            sender.sendto(body, (OUTER_SHARED, port))
            if index % 50 == 0:
                time.sleep(0.005)


def _header(initiator, responder, following, version, exchange, flags, message, length):
    return IKE_HEADER.pack(initiator, responder, following, version, exchange, flags, message, 28 + length)


def _heartbeats(lab, source, active, standby):
    """From the standby's own host, so that the sender's address is the right one."""
    with kernel.inside(lab.network.name(standby.name)):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        for _ in range(DATAGRAMS):
            for remote in (PAIR[active.name], INNER[active.name]):
                sender.sendto(source.randbytes(source.randrange(200)), (remote, 4510))


def _link(lab, source, active, standby):
    """Connections that say nothing, that say noise, and that speak TLS without the pinned certificate."""
    held = []
    with kernel.inside(lab.network.name(standby.name)):
        for remote in (PAIR[active.name], INNER[active.name]):
            for index in range(8):
                held.append(_connect(remote, index, source))
    time.sleep(0.3)
    for connection in filter(None, held):
        connection.close()


def _connect(remote, index, source):
    try:
        connection = socket.create_connection((remote, 4510), timeout=1.0)
        if index % 3 == 1:
            connection.sendall(source.randbytes(4000))
        elif index % 3 == 2:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            return context.wrap_socket(connection)
        return connection
    except OSError:
        return None  # refused: as good an answer as any


def _control(source, active):
    packets = [
        b"", b"\0", b"\0\0\0\0", b"\xff\xff\xff\xff", struct.pack("!I", 5) + b"\0\x04s",
        struct.pack("!I", 2) + bytes([REQUEST, 200]),
        struct.pack("!I", 9) + bytes([REQUEST, 5]) + b"stats" + b"\x63\x01", struct.pack("!I", 9) + bytes([REGISTER, 7]) + b"nothing",
        *(struct.pack("!I", 400) + source.randbytes(400) for _ in range(40)), *(source.randbytes(700) for _ in range(40))]
    held = []
    for packet in packets:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(1.0)
        try:
            connection.connect(active.socket)
            connection.sendall(packet)
        except OSError:
            pass
        held.append(connection)
    with Vici(active.socket) as vici:
        vici.request("version")
    for connection in held:
        connection.close()
