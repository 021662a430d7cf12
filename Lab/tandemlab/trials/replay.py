"""Packets of a client, captured before a takeover and sent again after it: which of them the new active lets in."""

import os
import socket
import struct
import time

from .. import kernel
from ..caller import BEHIND, Caller, admitting
from ..capture import ESP, ETHERTYPE_IPV4, FLUSH_S, PORT_NATT, UDP, frames
from ..gateway import CONFIGURATION
from ..laboratory import Laboratory
from ..namespaces import CLIENT, OUTER_SHARED, SERVER
from ..probes import PACKET, ProbePair

RATE = 500
#: How long the stream goes on before the active dies.
STREAM_S = 3.0
#: Between two replayed packets: none is lost because a queue is full.
PAUSE_S = 0.0005
MODES = ("window", "strict")
#: The new active may let in what the dead one took after its last report of counters.
WINDOW_SHARE_MAX = 0.5


def replay(settings, checks):
    """In laboratories of its own, one for each mode; returns what was found."""
    return {mode: _mode(settings, checks, mode) for mode in MODES}


def template(mode):
    line = 'peer_certificate = "pair/{peer}.crt"\n'
    assert line in CONFIGURATION
    return admitting(CONFIGURATION.replace(line, f'{line}replay_protection = "{mode}"\n', 1))


def _mode(settings, checks, mode):
    with Laboratory(settings) as lab:
        active, standby = lab.start_pair(template(mode))
        caller = Caller(lab, OUTER_SHARED)
        lab.at_end(caller.stop)
        caller.start()
        caller.wait_answering()
        caller.add_address()
        caller.command("initiate", "net")
        captured = _stream_until_death(lab, active, standby)
        first, second = _replay(lab, standby, captured), _replay(lab, standby, captured)
        share = len(first) / len(captured) if captured else 1.0
        detail = f"{len(first)} of {len(captured)} ({share:.1%}), the second time {len(second)}"
        checks.expect(f"replay, {mode}: the capture is worth it", len(captured) > RATE * STREAM_S / 2, f"{len(captured)} packets")
        if mode == "strict":
            checks.expect("replay, strict: nothing captured before the takeover is let in after it", not first and not second, detail)
        else:
            checks.expect("replay, window: at most what came after the last report is let in", share <= WINDOW_SHARE_MAX, detail)
            checks.expect("replay, window: nothing is let in twice", not second, detail)
        _goes_on(lab, checks, caller, mode)
        return {"captured": len(captured), "let_in": len(first), "let_in_twice": len(second), "share": round(share, 4)}


def _stream_until_death(lab, active, standby):
    """Returns the client's frames toward the gateway."""
    probes = ProbePair(lab.network, lab.directory, BEHIND, SERVER, RATE, run_id="-before")
    lab.at_end(probes.stop)
    probes.wait_flowing(time.monotonic())
    time.sleep(STREAM_S)
    epoch = int(standby.status()["epoch"])
    # The client is silent afterwards: nothing that it sends moves the new active's window on.
    probes.stop()
    active.kill()
    lab.pair.wait_active(standby, epoch)
    time.sleep(FLUSH_S)
    return list(_protected(lab.recorder.path))


def _protected(path):
    ends = socket.inet_aton(CLIENT) + socket.inet_aton(OUTER_SHARED)
    for _, frame in frames(path, 0):
        if struct.unpack_from("!H", frame, 12)[0] != ETHERTYPE_IPV4 or frame[26:34] != ends:
            continue
        length = 14 + struct.unpack_from("!H", frame, 16)[0]
        inside = 14 + (frame[14] & 0xF) * 4
        is_wrapped = frame[23] == UDP and struct.unpack_from("!H", frame, inside + 2)[0] == PORT_NATT
        is_esp = frame[23] == ESP or is_wrapped and frame[inside + 8 : inside + 12] != bytes(4)
        # The recorder keeps the beginning of each frame: probes are whole.
        if is_esp and length <= len(frame):
            yield frame[:length]


def _replay(lab, gateway, captured):
    """Sends frames to the gateway from where the client is; returns the probes that came out at the server."""
    target = lab.network.hardware_address(gateway.name, "eth0")
    with kernel.inside(lab.network.name("server")):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        server.bind((SERVER, ProbePair.PORT))
    with kernel.inside(lab.network.name("client")):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        wire.bind(("eth0", 0))
    with server, wire:
        for frame in captured:
            wire.send(target + frame[6:])
            time.sleep(PAUSE_S)
        time.sleep(0.5)
        server.setblocking(False)
        found = []
        while True:
            try:
                data = server.recv(64)
            except BlockingIOError:
                return found
            if len(data) == PACKET.size:
                found.append(PACKET.unpack(data)[1])


def _goes_on(lab, checks, caller, mode):
    """What is genuine passes, and the client's kernel saw no number twice."""
    probes = ProbePair(lab.network, lab.directory, BEHIND, SERVER, RATE, run_id="-after")
    lab.at_end(probes.stop)
    start = time.monotonic()
    probes.wait_flowing(start, timeout=20)
    time.sleep(0.5)
    probes.stop()
    counters = caller.status()["counters"]
    same = int(counters.get("ike_initiations_started", 0)) == 1
    checks.expect(f"replay, {mode}: the client's own stream goes on, in the same IKE SA", same)
    with kernel.inside(lab.network.name("client")), open("/proc/thread-self/net/xfrm_stat" if _has_xfrm() else os.devnull) as file:
        found = dict(line.split() for line in file)
    if found:
        refused = int(found["XfrmInStateSeqError"])
        checks.expect(f"replay, {mode}: XfrmInStateSeqError of the client is 0", refused == 0, str(refused))


def _has_xfrm():
    return os.path.exists("/proc/thread-self/net/xfrm_stat")
