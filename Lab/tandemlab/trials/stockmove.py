"""Context transfer of a stock client: it knows MOBIKE and nothing of Tandem, and goes to and fro between two gateways that are no pair."""

import json
import os
import time

from ..namespaces import INNER, SERVER
from ..probes import ProbePair
from ..processes import run, wait_until
from ..strongswan import Charon, road_conf
from .redirect import ADDRESSES, ALONE, POOLS
from .transfer import counter, follow_routes, linked, sessions

RATE = 1000
MOVES = 6
#: What is under way to the gateway that has let go, until the client has heard the other one and turned its SAs: some milliseconds.
LOST_MAX = 50


def stockmove(lab, checks):
    folder, pool = os.path.join(lab.directory, "stockmove"), POOLS["sg1"]
    # The client pretends to be behind a NAT, so as to have ESP in UDP.
    gateways, ends = linked(lab, folder, ALONE.replace("@POOL@", pool), mobike="always"), []
    client = Charon(lab.network, "client", folder, road_conf(ADDRESSES["sg1"]), lab.settings.client_kernel)
    run("ip", "-n", lab.network.name("server"), "route", "replace", pool, "via", INNER["sg1"])
    try:
        for gateway in gateways.values():
            gateway.start()
            ends.append(gateway.stop)
            gateway.wait_answering()
        follow_routes(lab, folder, pool, ends)
        ends.append(client.stop)
        client.start()
        return _moves(lab, checks, client, gateways, folder, ends)
    finally:
        for end in reversed(ends):
            end()


def _moves(lab, checks, client, gateways, folder, ends):
    client.initiate("net")
    first, seen = client.proof(), []
    probes = ProbePair(lab.network, folder, first.virtual_address, SERVER, RATE, run_id="-stockmove")
    ends.append(probes.stop)
    probes.wait_flowing(time.monotonic())
    for index in range(MOVES):
        left, arrived = (gateways[name] for name in (("sg1", "sg2") if index % 2 == 0 else ("sg2", "sg1")))
        time.sleep(0.5)
        start = time.monotonic()
        done = left.command("transfer", "anna@example.net", "--to", arrived.name, "--json", check=False)
        told = json.loads(done.stdout) if done.stdout.startswith("{") else {"reason": done.stderr.strip()}
        wait_until("the session has moved", lambda: sessions(left) == 0 and sessions(arrived) == 1, timeout=10)
        probes.wait_flowing(time.monotonic())
        time.sleep(1.0)
        gaps = {each.key: each.interruption(start, time.monotonic() - 0.2, 1000 / RATE) for each in probes.directions}
        detail = ", ".join(f"{key} {gap.blackout_ms:.1f} ms, {gap.lost} of {gap.sent} lost" for key, gap in gaps.items())
        moved = done.returncode == 0 and told.get("outcome") == "done" and told.get("method") == "mobike"
        checks.expect(f"stock client, move {index + 1}: it follows to {arrived.name}", moved, told.get("reason") or detail)
        lost = max(gap.lost for gap in gaps.values())
        checks.expect(f"stock client, move {index + 1}: nothing is lost but what was under way", lost <= LOST_MAX, detail)
        seen.append({"lost": lost, "blackout_ms": max(gap.blackout_ms for gap in gaps.values()), "total_ms": told.get("total_ms")})
    last = client.proof()
    # charon with kernel-libipsec cannot change the addresses of a CHILD SA, and rekeys it after a move.
    same = (last.ike, last.virtual_address) == (first.ike, first.virtual_address)
    checks.expect("stock client: the same IKE SA and address all along", same)
    client.rekey_child("net")
    child = client.settled_proof(unlike=lambda now: now.child_unique_id != last.child_unique_id)
    client.rekey_ike("road")
    ike = client.settled_proof(unlike=lambda now: now.ike_unique_id != first.ike_unique_id)
    checks.expect("stock client: both rekeys work", ike.child_spis == child.child_spis)
    begun = sum(counter(gateway, "ike_half_open_created") for gateway in gateways.values())
    checks.expect("stock client: it authenticated once", begun == 1, f"{begun} IKE SAs were begun")
    checks.expect("stock client: no replay drop", client.replay_drops() == 0, str(client.replay_drops()))
    return seen
