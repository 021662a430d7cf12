"""A takeover by a standby that missed exchanges with a stock client: message IDs are synchronized (RFC 6311)."""

import json
import re
import time

from ..namespaces import NODES, OUTER_SHARED
from ..processes import run, wait_until
from ..strongswan import road_conf
from ..vici import ViciError

#: Exchanges that the active has alone with the client; none changes an SA.
EXCHANGES = 5
#: A child that no gateway has: asking for it uses a message ID and nothing else.
NOWHERE = "children { nowhere { remote_ts = 172.31.0.0/16 } }"


def counters(lab, checks, active, standby):
    """The link between the nodes goes silent, heartbeats do not; the active serves on and dies."""
    client = lab.start_stranger(
        road_conf(OUTER_SHARED, connection="second", identity="bert@example.net", more=NOWHERE))
    client.initiate("net")
    before = client.settled_proof("second")
    lab.pair.wait_paired()
    _link(lab, "add")
    try:
        for _ in range(EXCHANGES):
            _ask_for_nowhere(client)
        wait_until("the active is solo", lambda: active.status()["pair_state"] == "solo", timeout=10)
        checks.expect("without the link the standby stays standby", standby.status()["role"] == "standby", standby.in_short())
        known = _next_ids(standby)
        missed = _next_ids(active)
        checks.expect("the standby has missed exchanges", known != missed, f"it has {known}, the active {missed}")
        epoch = int(standby.status()["epoch"])
        active.kill()
        lab.pair.wait_active(standby, epoch)
    finally:
        _link(lab, "del")
    lab.probes.wait_flowing(time.monotonic())
    # The client speaks first: what it asks lies outside the window that the new owner knows.
    _ask_for_nowhere(client)
    done = wait_until("the message IDs are synchronized", lambda: _counter(standby, "ike_syncs_completed") >= 1, timeout=30)
    checks.expect("the new owner synchronizes message IDs with a stock client", bool(done), f"{_counter(standby, 'ike_syncs_completed')} done")
    line = re.search(r"responder requested MID sync.*", client.log())
    checks.expect("the stock client says so", line is not None, line.group(0) if line else "nothing in its log")
    checks.expect("inside the same SAs", client.settled_proof("second") == before)
    client.rekey_child("net")
    second = client.settled_proof("second", unlike=lambda now: now.child_spis != before.child_spis)
    client.rekey_ike("second")
    third = client.settled_proof("second", unlike=lambda now: now.ike_spis != second.ike_spis)
    checks.expect("the client's rekeys of both kinds work after it", third.ike_spis != before.ike_spis)
    standby.command("rekey", "road")
    client.settled_proof("second", unlike=lambda now: now.ike_spis != third.ike_spis)
    checks.expect("the gateway's rekey works after it", True)
    checks.expect("nobody was given up", _counter(standby, "ike_peers_dead") == 0 and _counter(standby, "ike_syncs_failed") == 0)
    client.terminate("second")
    client.stop()
    active.start()
    lab.pair.wait_paired()


def _link(lab, verb):
    """TCP between the nodes is lost; heartbeats (UDP) are not."""
    for node in NODES:
        run("ip", "-n", lab.network.name(node), "rule", verb, "pref", "1", "ipproto", "tcp", "blackhole")


def _ask_for_nowhere(client):
    try:
        client.initiate("nowhere", timeout_ms=8000)
    except ViciError:
        return


def _next_ids(gateway):
    for session in json.loads(gateway.command("sessions", "--json").stdout)["sessions"]:
        if session["remote_id"] == "bert@example.net":
            return session["next_send_id"], session["next_receive_id"]
    return None


def _counter(gateway, name):
    return int(gateway.status()["counters"].get(name, 0))
