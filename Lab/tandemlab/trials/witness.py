"""Split brain: the pair's only path is cut while both nodes reach the clients, with a witness, with programs, and with neither in reach."""

import os
import threading
import time

from ..etcd import Etcd
from ..gateway import CONFIGURATION
from ..laboratory import Laboratory
from ..namespaces import OUTER_SHARED, PAIR
from ..processes import LabError, run, wait_until
from ..strongswan import road_conf
from .span import Quiet, measure
from .wire import check_wire

RATE = 100
#: Blackouts in milliseconds: a death is told by the link that closes; after a silence an owner that lives has 100 ms for its claim.
LIMITS_MS = {"kill": 150, "silence": 500}

_INNER_PATH = '[[pair.path]]\nlocal = "{inner_local}:4510"\nremote = "{inner_remote}:4510"\n'


def template(sections):
    """One path, over cables of its own; what is behind it is not cut with it."""
    assert _INNER_PATH in CONFIGURATION
    return CONFIGURATION.replace(_INNER_PATH, "") + sections


class Owners:
    """Asks both nodes in turn who they are. One that is active before and after the other one was at once makes two."""

    def __init__(self, pair):
        self.nodes, self.seen, self._ends = list(pair.nodes.values()), [], threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ends.set()
        self._thread.join()

    def _watch(self):
        while not self._ends.is_set():
            for node in self.nodes:
                state = node.status() if node.process.alive else None
                self.seen.append((node.name, bool(state) and state["role"] == "active"))

    def doubles(self):
        """How often one was active between two moments at which the other was."""
        return sum(
            1 for (name, before), (_, between), (_, after) in zip(self.seen, self.seen[1:], self.seen[2:]) if before and between and after)

    @property
    def count(self):
        return len(self.seen)


class Trial:
    def __init__(self, name, lab, checks, times_count):
        self.name, self.lab, self.checks, self.times_count = name, lab, checks, times_count
        self.figures = {}

    def expect(self, name, holds, detail=""):
        self.checks.expect(f"{self.name}: {name}", holds, detail)

    def active_nodes(self):
        states = {name: node.status() for name, node in self.lab.pair.nodes.items() if node.process.alive}
        return [name for name, state in states.items() if state and state["role"] == "active"]

    def watched(self, kind, name, action, seconds):
        """Does something and looks for so long how many own. Returns the names of the owners in the end."""
        start = time.monotonic()
        with Owners(self.lab.pair) as owners:
            action()
            time.sleep(seconds)
        found = self.active_nodes()
        self.expect(f"{name}: never two owners", owners.doubles() == 0 and owners.count > 20, f"asked {owners.count} times, owner {found}")
        if kind:
            self.lab.probes.wait_flowing(time.monotonic())
            worst = max(gap.blackout_ms for gap in measure(self.lab, start, time.monotonic() - 0.1))
            self.figures[name] = round(worst, 1)
            bound = f"at most {LIMITS_MS[kind]} ms" if self.times_count else "not judged here"
            self.expect(f"{name}: blackout {bound}", worst <= LIMITS_MS[kind] or not self.times_count, f"{worst:.0f} ms")
        return found

    def paired(self, name, before, heal=None):
        """The pair finds together, with one owner all the while."""
        if heal:
            self.watched(None, f"{name}, healed", heal, 2.0)
        active, standby = self.lab.pair.wait_paired()
        self.lab.probes.wait_flowing(time.monotonic())
        self.expect(f"{name}: the same SAs, the pair is paired", self.lab.client.proof() == before, f"{active.name} active")
        return active, standby


def witness(settings, checks, times_count=True):
    """In a laboratory of its own; returns the blackouts."""
    with Laboratory(settings) as lab:
        trial = Trial("witness", lab, checks, times_count)
        etcd = Etcd(lab)
        etcd.start()
        lab.start_pair(template(etcd.section))
        lab.start_client(road_conf(OUTER_SHARED))
        lab.start_probes(RATE)
        for step in (_split, _isolated, _killed, _without_etcd, _nobody):
            checks.run(f"witness {step.__name__}", lambda: step(trial, etcd))
        check_wire(lab, checks)
        return trial.figures


def _split(trial, etcd):
    """Every path of the pair is cut, and everything else is whole: whoever is first at the witness owns."""
    active, _ = trial.lab.pair.wait_paired()
    before = trial.lab.client.proof()
    trial.expect("a pair that sees itself has no claim", etcd.claims() == [], str(etcd.claims()))
    owners = trial.watched("silence", "split", lambda: trial.lab.network.cut(active.name, ("pair",)), 3.0)
    trial.expect("split: one owner, with a claim", len(owners) == 1 and len(etcd.claims()) == 1, f"{owners}, {etcd.claims()}")
    trial.paired("split", before, lambda: trial.lab.network.heal(active.name, ("pair",)))
    wait_until("the claim is given back", lambda: etcd.claims() == [], timeout=5)


def _isolated(trial, etcd):
    """The active loses every cable: it cannot reach the witness, and lets go; the other one owns."""
    active, standby = trial.lab.pair.wait_paired()
    before = trial.lab.client.proof()
    owners = trial.watched("silence", "isolated", lambda: trial.lab.network.cut(active.name), 3.0)
    state = active.status()
    trial.expect("isolated: the other one owns, this one says why it does not", owners == [standby.name] and state["arbitration"]["trouble"] != "",
                 f"{owners}, {state['arbitration']['trouble']}")
    trial.expect("isolated: it has let go of the addresses", not active.holds_addresses(), str(active.holds_addresses()))
    trial.paired("isolated", before, lambda: trial.lab.network.heal(active.name))


def _killed(trial, etcd):
    active, standby = trial.lab.pair.wait_paired()
    before = trial.lab.client.proof()
    owners = trial.watched("kill", "kill", active.kill, 1.0)
    cause = standby.status()["last_takeover"]["cause"]
    trial.expect("kill: the other one owns, with a claim", owners == [standby.name] and len(etcd.claims()) == 1, f"{cause}, {etcd.claims()}")
    active.start()
    trial.paired("kill", before)


def _without_etcd(trial, etcd):
    """The witness dies: nothing changes, and a switchover needs none."""
    active, standby = trial.lab.pair.wait_paired()
    epoch = active.status()["epoch"]
    with Quiet(trial.lab, trial.checks).during("witness: etcd is killed"):
        etcd.stop()
        time.sleep(4.0)
    trial.expect("without etcd: the same owner, paired", active.status()["epoch"] == epoch and active.status()["pair_state"] == "paired")
    active.command("switchover")
    now, _ = trial.lab.pair.wait_paired()
    time.sleep(2.0)
    trial.expect("without etcd: a switchover goes on as ever", now is standby and trial.active_nodes() == [standby.name], str(trial.active_nodes()))


def _nobody(trial, etcd):
    """The witness is dead and every path is cut: when_unreachable = "yield", so nobody owns, until the nodes see each other."""
    active, standby = trial.lab.pair.wait_paired()
    before = trial.lab.client.proof()
    owners = trial.watched(None, "nobody to ask", lambda: trial.lab.network.cut(active.name, ("pair",)), 2.0)
    held = [address for node in trial.lab.pair.nodes.values() for address in node.holds_addresses()]
    trial.expect("nobody to ask: nobody owns", owners == [] and held == [], f"{owners}, {held}")
    trial.watched(None, "nobody to ask, healed", lambda: trial.lab.network.heal(active.name, ("pair",)), 2.0)
    trial.paired("nobody to ask", before)


def programs(settings, checks, times_count=True):
    """A reachability check and a fencing program, without a witness; in a laboratory of its own."""
    with Laboratory(settings) as lab:
        trial = Trial("programs", lab, checks, times_count)
        lab.start_pair(template(_program_sections(lab)))
        lab.start_client(road_conf(OUTER_SHARED))
        lab.start_probes(RATE)
        checks.run("fencing", lambda: _fenced(trial))
        checks.run("reachability", lambda: _unreachable(trial))
        check_wire(lab, checks)
        return trial.figures


def _script(lab, name, text):
    path = f"{lab.directory}/{name}"
    with open(path, "w") as file:
        file.write(f"#!/bin/sh\n{text}\n")
    # Whoever can write it can do what the daemon may.
    os.chmod(path, 0o755)
    return path


def _program_sections(lab):
    """Fencing leaves a word; reachability is what a file of the node's says."""
    fence = _script(lab, "fence", f'[ ! -e {lab.directory}/fencing-fails ] || exit 1\necho "$TANDEM_PEER $TANDEM_CAUSE" >>{lab.directory}/fenced')
    check = _script(lab, "check", f'[ ! -e {lab.directory}/unreachable-$TANDEM_NODE ]')
    return f'\n[reachability]\ncommand = ["{check}"]\n\n[fencing]\ncommand = ["{fence}"]\ntimeout = "2s"\n'


def _read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _fenced(trial):
    """The program is run before ownership, and while it fails nobody owns."""
    lab = trial.lab
    active, standby = lab.pair.wait_paired()
    before = lab.client.proof()
    open(f"{lab.directory}/fencing-fails", "w").close()
    active.kill()
    time.sleep(1.5)
    state = standby.status()
    trial.expect("fencing that fails: nobody owns", state["role"] == "standby" and "fencing failed" in state["arbitration"]["trouble"],
                 f"{state['role']}, {state['arbitration']['trouble']}")
    os.unlink(f"{lab.directory}/fencing-fails")
    lab.pair.wait_active(standby, int(state["epoch"]))
    trial.expect("fencing that works: the other one owns", f"{active.name} " in _read(f"{lab.directory}/fenced"), _read(f"{lab.directory}/fenced").strip())
    active.start()
    trial.paired("fencing", before)


def _unreachable(trial):
    """The active reaches nothing any more, and no path is left: it lets go, and the other one owns."""
    lab = trial.lab
    active, standby = lab.pair.wait_paired()
    before = lab.client.proof()
    open(f"{lab.directory}/unreachable-{active.name}", "w").close()
    time.sleep(1.0)
    trial.expect("a pair that sees itself checks nothing", trial.active_nodes() == [active.name])
    # Without a witness the two decide each for itself, at the same time: for a moment there may be two.
    lab.network.cut(active.name, ("pair",))
    try:
        wait_until("the active lets go", lambda: trial.active_nodes() == [standby.name], timeout=5)
        lets_go = True
    except LabError:
        lets_go = False
    trial.expect("an owner that reaches nothing lets go, the other one owns", lets_go, str(trial.active_nodes()))
    lab.network.heal(active.name, ("pair",))
    trial.paired("reachability", before)


def paths(settings, checks):
    """Two paths: the link goes to the other one when its own is silent, in both directions or in one; in a laboratory of its own."""
    with Laboratory(settings) as lab:
        lab.start_pair(_two_paths())
        lab.start_client(road_conf(OUTER_SHARED))
        lab.start_probes(RATE)
        # Whoever starts first may find nobody on the first path, and return to it later.
        wait_until("the link is on the preferred path", lambda: _link_paths(lab) == [[0], [0]], timeout=20)
        checks.run("path cut", lambda: _cut_path(lab, checks))
        checks.run("path cut in one direction", lambda: _half_path(lab, checks))
        check_wire(lab, checks)


def _two_paths():
    assert _INNER_PATH in CONFIGURATION
    return CONFIGURATION.replace(_INNER_PATH, _INNER_PATH + "preference = 1\n")


def _link_paths(lab):
    """For each node those that carry the link: one, or none while there is no link."""
    return [[index for index, path in enumerate(node.status()["heartbeat_paths"]) if path.get("carries_link")] for node in lab.pair.nodes.values()]


def _states(node):
    return [f"{path['from_peer']}/{path['to_peer']}" for path in node.status()["heartbeat_paths"]]


def _cut_path(lab, checks):
    active, standby = lab.pair.wait_paired()
    epoch = active.status()["epoch"]
    with Quiet(lab, checks).during("paths: the link's path is cut"):
        lab.network.cut(active.name, ("pair",))
        wait_until("the link has moved", lambda: _link_paths(lab) == [[1], [1]], timeout=5)
        lab.pair.wait_paired()
    checks.expect("paths: the pair is paired over the other one, nobody took over", active.status()["epoch"] == epoch, str(_states(active)))
    checks.expect("paths: both say which is lost", _states(active)[0].startswith("down") and _states(standby)[0].startswith("down"),
                  f"{_states(active)} {_states(standby)}")
    lab.network.heal(active.name, ("pair",))
    wait_until("it works again", lambda: _states(active) == ["up/up", "up/up"] == _states(standby), timeout=5)
    checks.expect("paths: both say that it is back", True)
    with Quiet(lab, checks).during("paths: the link returns to the preferred path"):
        wait_until("the link has returned", lambda: _link_paths(lab) == [[0], [0]], timeout=20)
        lab.pair.wait_paired()


def _half_path(lab, checks):
    """What the active sends on the first path does not leave; what comes in does."""
    active, standby = lab.pair.wait_paired()
    epoch, host = active.status()["epoch"], lab.network.name(active.name)
    with Quiet(lab, checks).during("paths: one direction of a path is lost"):
        run("ip", "-n", host, "route", "add", "blackhole", f"{PAIR[standby.name]}/32")
        wait_until(
            "both know", lambda: _states(active)[0] == "up/down" and _states(standby)[0] == "down/up", timeout=5)
        lab.pair.wait_paired()
    checks.expect("paths: who is not heard knows it, who does not hear knows it", True, f"{_states(active)} {_states(standby)}")
    checks.expect("paths: nobody took over", active.status()["epoch"] == epoch and standby.status()["role"] == "standby")
    run("ip", "-n", host, "route", "del", "blackhole", f"{PAIR[standby.name]}/32")
    wait_until("it works again", lambda: _states(active) == ["up/up", "up/up"] == _states(standby), timeout=5)
