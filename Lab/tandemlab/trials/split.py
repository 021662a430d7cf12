"""Both nodes own for a while, each with a client that speaks to it alone; when they meet again nothing of either is lost."""

import time

from ..laboratory import Laboratory
from ..namespaces import OUTER_SHARED, SERVER
from ..probes import ProbePair
from ..processes import run, wait_until
from ..strongswan import road_conf
from .wire import check_wire
from .witness import template

RATE = 100
SECOND_IDENTITY = "bert@example.net"
SECOND_PORT = 7008


def split(settings, checks):
    """In a laboratory of its own, without a witness. The first client follows the announcements, as clients do; the second is held at the
    former owner by what it knows of the shared address."""
    with Laboratory(settings) as lab:
        lab.start_pair(template(""))
        lab.start_client()
        lab.start_probes(RATE)
        second = lab.start_stranger(road_conf(OUTER_SHARED, identity=SECOND_IDENTITY))
        checks.run("split, a new session", lambda: _new_session(lab, checks, second))
        lab.at_end(_probe(lab, second).stop)
        checks.run("split, rekeys on both sides", lambda: _rekeys(lab, checks, second))
        check_wire(lab, checks)


def _probe(lab, second):
    lab.second_probes = ProbePair(
        lab.network, lab.directory, second.proof().virtual_address, SERVER, RATE, run_id="-second", host="stranger", port=SECOND_PORT)
    return lab.second_probes


class _Split:
    """The pair's cables are out, and both own. `lower` owned before, and has the second client; `higher` took over."""

    def __init__(self, lab):
        self.lab = lab
        self.lower, self.higher = lab.pair.wait_paired()

    def __enter__(self):
        network = self.lab.network
        address = network.hardware_address(self.lower.name, "eth0").hex(":")
        network.batch("stranger", [f"neigh replace {OUTER_SHARED} lladdr {address} dev eth0 nud permanent"])
        network.cut(self.lower.name, ("pair",))
        wait_until("both own", lambda: all(node.status()["role"] == "active" for node in self.lab.pair.nodes.values()), timeout=10)
        return self

    def __exit__(self, *_):
        network = self.lab.network
        network.heal(self.lower.name, ("pair",))
        self.owner, self.standby = self.lab.pair.wait_paired(timeout=20)
        network.batch("stranger", [f"neigh del {OUTER_SHARED} dev eth0"])


def _new_session(lab, checks, second):
    """The second client connects to a node that will not be the owner."""
    first = lab.client.proof()
    with _Split(lab) as parted:
        second.initiate("net")
        before = second.proof()
        sessions = {node.name: int(node.status()["sessions_owned"]) for node in (parted.lower, parted.higher)}
        checks.expect("split: the new session is at one node alone", sessions == {parted.lower.name: 2, parted.higher.name: 1}, str(sessions))
    _expect_merged(lab, checks, "a new session", parted, {"sessions_merged_new": 1})
    checks.expect("split: the new session goes on, and so does the old one", second.proof() == before and lab.client.proof() == first)
    _expect_asked(lab, checks, second, "a new session")


def _rekeys(lab, checks, second):
    """Each client has both of its SAs rekeyed by the node that it reaches."""
    lab.second_probes.wait_flowing(time.monotonic())
    with _Split(lab) as parted:
        proofs = [_rekey_all(client) for client in (lab.client, second)]
        lab.probes.wait_flowing(time.monotonic())
    _expect_merged(lab, checks, "rekeys", parted, {"sessions_merged_theirs": 1})
    checks.expect("split, rekeys: both clients go on with the SAs that they rekeyed", [lab.client.proof(), second.proof()] == proofs)
    for probes in (lab.probes, lab.second_probes):
        probes.wait_flowing(time.monotonic())
    _expect_asked(lab, checks, second, "rekeys")
    for client in (lab.client, second):
        count = client.log().count("generating IKE_AUTH request")
        checks.expect(f"split: {client.host} authenticated once in all that", count == 1, f"{count} IKE_AUTH")


def _rekey_all(client):
    before = client.proof()
    client.rekey_ike("road")
    between = client.settled_proof(unlike=lambda now: now.ike_spis != before.ike_spis)
    client.rekey_child("net")
    return client.settled_proof(unlike=lambda now: now.child_spis != between.child_spis)


def _expect_merged(lab, checks, name, parted, wanted):
    status = parted.owner.status()
    found = {key: int(status["counters"].get(key, 0)) for key in wanted}
    checks.expect(f"split, {name}: the higher epoch owns, the pair is paired", parted.owner is parted.higher, f"{parted.owner.name}, {found}")
    checks.expect(f"split, {name}: what the other one did is taken in", found == wanted, str(found))
    checks.expect(f"split, {name}: both sessions are owned, none is lost", int(status["sessions_owned"]) == 2, status["sessions_owned"])


def _expect_asked(lab, checks, second, name):
    """Both clients can ask the owner something inside the IKE SA that they have."""
    before = [lab.client.proof(), second.proof()]
    for client, proof in zip((lab.client, second), before):
        client.rekey_child("net")
        after = client.settled_proof(unlike=lambda now: now.child_spis != proof.child_spis)
        checks.expect(f"split, {name}: {client.host} rekeys afterwards in the same IKE SA", after.ike == proof.ike)
