"""A flood of IKE_SA_INIT requests from addresses that nobody has: the pair stays a pair, the tunnel does not notice, a client gets in."""

import contextlib
import statistics
import threading
import time

from ..flood import Flood
from ..namespaces import OUTER_SHARED
from ..strongswan import road_conf
from ..vici import ViciError
from .span import Quiet, measure

RATE, SECONDS = 10_000, 10
#: What the sender must have reached for the trial to say anything.
RATE_SHARE_MIN = 0.9
#: Into the flood, when the new client begins.
CLIENT_AFTER_S = 2.0
STATUS_EVERY_S = 0.1
#: A status is asked for by people and by monitoring: within a second, on a machine whose cores are all busy.
STATUS_MS_MAX = 500
#: A moment that is told on the wall clock, from one that was noted on the other.
CLOCK_MS = 500
#: Half-open IKE SAs with cookies out: the threshold, and what handshakes with cookies add.
HALF_OPEN_MAX = 64
#: Half-open IKE SAs, the queues' datagrams and the allocator's slack.
GROWTH_MIB_MAX = 64
#: The tunnel's probes, of some 4,000 in both directions: two busy cores carry the flooder, the recorder and all hosts.
LOST_MAX = 4


def flood(lab, checks, active, standby):
    """Returns what was measured."""
    before, since = _state(active, standby), time.monotonic()
    time.sleep(SECONDS)
    calm = measure(lab, since, time.monotonic() - 0.1)
    flooder = Flood(lab.network, "stranger", _hardware_address(lab, active), OUTER_SHARED, RATE, SECONDS)
    proof, started = lab.client.proof(), time.monotonic()
    with _watch(active) as watched:
        flooder.start()
        time.sleep(CLIENT_AFTER_S)
        joined = _join(lab)
        under_flood = flooder.runs
        sent, seconds = flooder.end()
    ended = time.monotonic()
    lab.probes.wait_flowing(ended)
    time.sleep(0.2)
    gaps, after = measure(lab, started, ended), _state(active, standby)
    lab.stranger.stop()
    figures = {
        "rate": round(sent / seconds), "requests": sent, "seconds": seconds,
        "calm": _gaps(calm), "flooded": _gaps(gaps), "status_ms_median": round(statistics.median(watched.answers_ms), 1),
        "status_ms_max": round(max(watched.answers_ms), 1), "statuses": len(watched.answers_ms),
        "half_open_max": max(watched.half_open, default=0), "memory_mib": [round(before["memory_mib"], 1), round(max(watched.memory_mib), 1)],
        "client_ms": joined,
    }
    _judge(checks, figures, before, after, under_flood, proof == lab.client.proof())
    return figures


def _judge(checks, figures, before, after, under_flood, same):
    rate = f"{figures['requests']} requests, {figures['rate']} a second"
    checks.expect("flood: the sender reaches its rate", figures["rate"] >= RATE * RATE_SHARE_MIN, rate)
    for key in ("roles", "epochs", "pair_states"):
        checks.expect(f"flood: {key.replace('_', ' ')} as before", before[key] == after[key], f"{before[key]} → {after[key]}")
    moved = max(abs(a - b) for a, b in zip(before["pair_since"], after["pair_since"]))
    checks.expect("flood: paired all the while", moved < CLOCK_MS, f"since {before['pair_since']}, {after['pair_since']}")
    lost = figures["flooded"]["lost"]
    detail = f"same SAs: {same}, {lost} lost, longest gap {figures['flooded']['gap_ms']} ms; calm {figures['calm']}"
    checks.expect(
        "flood: the established client hardly notices",
        same and lost <= LOST_MAX and figures["flooded"]["gap_ms"] <= Quiet.BLACKOUT_MS_MAX, detail)
    joined = f"{figures['client_ms']} ms" if figures["client_ms"] else "refused"
    checks.expect("flood: a new client gets in meanwhile", figures["client_ms"] is not None and under_flood, joined)
    checks.expect("flood: half-open IKE SAs stay few", figures["half_open_max"] <= HALF_OPEN_MAX, str(figures["half_open_max"]))
    first, most = figures["memory_mib"]
    checks.expect("flood: memory stays bounded", most - first <= GROWTH_MIB_MAX, f"{first} → at most {most} MiB")
    times = f"{figures['statuses']}, median {figures['status_ms_median']} ms, at most {figures['status_ms_max']} ms"
    checks.expect("flood: status answers in time", figures["status_ms_max"] <= STATUS_MS_MAX, times)
    counted = {key: after["counters"].get(key, 0) - before["counters"].get(key, 0) for key in after["counters"]}
    checks.expect(
        "flood: cookies are asked for", counted.get("ike_cookies_required", 0) > 0,
        str({key: value for key, value in sorted(counted.items()) if value > 100}))


def _gaps(gaps):
    return {"gap_ms": round(max(gap.blackout_ms for gap in gaps), 1), "lost": sum(gap.lost for gap in gaps)}


def _join(lab):
    """Milliseconds until a client that was not there before has its tunnel and an answer through it; None when it has not."""
    stranger = lab.start_stranger(road_conf(OUTER_SHARED, identity="bert@example.net"))
    start = time.monotonic()
    try:
        stranger.initiate("net", timeout_ms=8000)
    except ViciError:
        return None
    return round((time.monotonic() - start) * 1000)


def _state(active, standby):
    """What must not change, of both nodes, and what may grow."""
    states = [node.status() for node in (active, standby)]
    return {
        "roles": [state["role"] for state in states], "epochs": [int(state["epoch"]) for state in states],
        "pair_states": [state["pair_state"] for state in states],
        "pair_since": [int(state["pair_since_ms"]) for state in states],
        "memory_mib": _memory_mib(active), "counters": {key: int(value) for key, value in states[0]["counters"].items()},
    }


def _memory_mib(gateway):
    with open(f"/proc/{gateway.process.pid}/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS"))


class _Watched:
    def __init__(self):
        self.answers_ms, self.half_open, self.memory_mib = [], [], []


@contextlib.contextmanager
def _watch(gateway):
    """Asks for the status all the while."""
    watched, is_over = _Watched(), threading.Event()

    def ask():
        while not is_over.wait(STATUS_EVERY_S):
            start = time.monotonic()
            state = gateway.status()
            watched.answers_ms.append((time.monotonic() - start) * 1000 if state else 60_000.0)
            watched.memory_mib.append(_memory_mib(gateway))
            if state:
                watched.half_open.append(int(state["half_open"]))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield watched
    finally:
        is_over.set()
        thread.join()


def _hardware_address(lab, gateway):
    """Of the interface that has the shared address."""
    return lab.network.hardware_address(gateway.name, "eth0")
