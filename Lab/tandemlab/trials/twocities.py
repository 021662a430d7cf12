"""Two gateways at two addresses, none of them shared: the active dies under a stream, and a stock MOBIKE client follows the other."""

import statistics
import time

from ..gateway import CONFIGURATION
from ..namespaces import INNER_SHARED, OUTER, OUTER_SHARED
from ..processes import LabError, wait_until
from ..strongswan import road_conf
from .span import measure
from .wire import check_wire

RATE = 100
#: One TCP connection that goes on over all of them.
DOWNLOAD_RATE = 300e3
#: Blackouts in milliseconds; by a kill the client has to be told, and by a switchover as well.
LIMITS_MS = {"kill": 150, "switchover": 50}
COUNT = 6

#: The servers' way home moves as ever; what the clients speak to does not.
_SHARED = '[[address]]\naddress = "{outer_shared}/24"\ninterface = "eth0"\n'
_OWN = "".join(f'[[address]]\naddress = "{OUTER[name]}"\nnode = "{name}"\n\n' for name in OUTER)


def template():
    assert _SHARED in CONFIGURATION
    text = CONFIGURATION.replace(_SHARED, _OWN)
    addresses = ", ".join(f'"{address}"' for address in OUTER.values())
    return text.replace('local_addrs = ["{outer_shared}"]', f"local_addrs = [{addresses}]")


def twocities(lab, checks, times_count=True):
    """In a laboratory of its own; returns the blackouts."""
    active, _ = lab.start_pair(template())
    lab.start_client(road_conf(OUTER[active.name]))
    lab.start_probes(RATE)
    lab.start_download(DOWNLOAD_RATE, 1)
    time.sleep(1.0)
    seen = []
    for index in range(COUNT):
        kind = ("kill", "switchover")[index % 2]
        seen.append(_takeover(lab, checks, kind, f"two cities, {kind} {index // 2 + 1}"))
        lab.download.check_alive()
    for kind, limit in LIMITS_MS.items():
        gaps = [each["blackout_ms"] for each in seen if each["kind"] == kind]
        detail = f"median {statistics.median(gaps):.1f} ms, longest {max(gaps):.1f} ms of {len(gaps)}"
        checks.expect(f"two cities, {kind}: blackout at most {limit} ms", max(gaps) <= limit or not times_count, detail)
    served, fetched = lab.download.finish(60)
    same = served["sha256"] == fetched["sha256"] and served["connections"] == 1
    checks.expect("two cities: one TCP connection all along, the same bytes at both ends", same, f"{fetched['bytes']} bytes")
    held = [address for node in lab.pair.nodes.values() for address in node.holds_addresses()]
    checks.expect("two cities: the clients' address was never shared", OUTER_SHARED not in held and INNER_SHARED in held, str(held))
    check_wire(lab, checks)
    return seen


def _takeover(lab, checks, kind, name):
    old, new = lab.pair.wait_paired()
    before, epoch, start = lab.client.proof(), int(new.status()["epoch"]), time.monotonic()
    if kind == "kill":
        old.kill()
    else:
        old.command("switchover")
    lab.pair.wait_active(new, epoch)
    flows = True
    try:
        lab.probes.wait_flowing(time.monotonic())
        wait_until("the client has moved", lambda: _gateway_of(lab) == OUTER[new.name], timeout=5, every=0.02)
    except LabError:
        flows = False
    time.sleep(0.3)
    after, roaming = lab.client.settled_proof(), new.status()["roaming"]
    gaps = {direction.key: direction.interruption(start, time.monotonic() - 0.1, 1000 / RATE) for direction in lab.probes.directions}
    worst, lost = max(gap.blackout_ms for gap in gaps.values()), max(gap.lost for gap in gaps.values())
    told = [int(roaming[key]) for key in ("moving", "unanswered", "waiting")]
    each_way = ", ".join(f"{key} {gap.blackout_ms:.1f} ms" for key, gap in gaps.items())
    # charon cannot move an SA that kernel-libipsec has, and rekeys the CHILD SA inside the IKE SA instead.
    same = before == after if lab.client.kernel == "kernel-netlink" else before.ike == after.ike
    checks.expect(
        f"{name}: the same IKE SA, now at {new.name}'s address",
        flows and same and before.virtual_address == after.virtual_address and told == [0, 0, 0],
        f"{_gateway_of(lab)}, blackout {each_way}, {lost} lost, CHILD SA {'the same' if before.child == after.child else 'rekeyed'}; "
        f"to move, unanswered, waited for: {told}")
    if kind == "kill":
        _comes_back(lab, checks, old, name, _gateway_of(lab))
    return {"kind": kind, "blackout_ms": round(worst, 3), "lost": lost}


def _comes_back(lab, checks, old, name, gateway):
    """The dead stands by again, and the client stays where it is."""
    start = time.monotonic()
    old.start()
    _, standby = lab.pair.wait_paired()
    time.sleep(0.3)
    lost = max(gap.lost for gap in measure(lab, start, time.monotonic() - 0.1))
    checks.expect(
        f"{name}: {old.name} comes back as standby, nobody notices", standby is old and lost == 0 and _gateway_of(lab) == gateway,
        f"{lost} probes lost, the client speaks to {_gateway_of(lab)}")


def _gateway_of(lab):
    """Where the client's IKE SA runs to."""
    return next((details["remote-host"] for name, details in lab.client.associations() if name == "road"), None)
