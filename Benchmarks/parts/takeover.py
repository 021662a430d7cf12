"""A takeover takes as long with a hundred thousand sessions as with ten.

For each count a pair of its own, its sessions set up by `session-generator`. Then takeovers of both kinds, kill and switchover, in turn
on every pair, so that what else the machine does falls on all counts alike. The times are the new active's own, from
`tandem status --json`; of a killed node that is back, how long the snapshot took is told by what both nodes say. Afterwards every session must be on both nodes and must answer on the wire.
"""

import contextlib
import itertools
import json
import time

from tandemlab.processes import LabError, wait_until

from . import common

COUNTS, QUICK_COUNTS = (10, 1000, 10_000, 100_000), (10, 100)
#: Takeovers of each kind on each pair; a pair of a hundred thousand sessions takes a while to be in step again.
REPEATS, QUICK_REPEATS = 8, 2
#: In blocks of four, each node is once the dead one and once the one that hands over.
KINDS = ("kill", "switchover", "switchover", "kill")
STEPS = ("owned", "armed", "gate_opened", "addresses_claimed", "announced", "ike_live")

#: Between the end of one takeover and the next: a heartbeat interval and a few, so that the leases of the last one are done.
REST_SECONDS = 0.25
#: Until sessions are on both nodes: some, and one for so many sessions.
STEP_SECONDS, SESSIONS_A_SECOND = 20.0, 2000
#: Of each node, when sessions are missing.
LINES_SHOWN = 20
#: By how much each brings the epoch forward: one that is offered lies past the next, which the standby would take by itself.
EPOCHS = {"kill": 1, "switchover": 3}
#: What the runtime counts when a step was not carried out.
STEP_FAILURES = ("runtime_dataplane_failures", "runtime_address_failures", "runtime_announcement_failures")


def measure(options):
    common.need(options, "session-generator")
    counts = options.counts or (QUICK_COUNTS if options.quick else COUNTS)
    with contextlib.ExitStack() as stack:
        every, problems, found = {}, {}, {}

        def attempt(count, action):
            """What goes wrong with one count is said in the end, and does not take the others' data away."""
            try:
                return None if count in problems else action()
            except LabError as error:
                problems[count] = f"{count} sessions: {str(error).splitlines()[0]}"
                print(error, flush=True)

        for count in counts:
            every[count] = attempt(count, lambda: Series(stack.enter_context(common.laboratory(options)), count))
        for kind in itertools.islice(itertools.cycle(KINDS), 2 * (options.repeats or (QUICK_REPEATS if options.quick else REPEATS))):
            for count, series in every.items():
                attempt(count, lambda: series.takeover(kind))
        for count, series in every.items():
            found[str(count)] = attempt(count, lambda: series.result())
        if not any(found.values()):
            raise LabError("; ".join(problems.values()))
        return {**{count: each for count, each in found.items() if each}, "problems": list(problems.values())}


class Series:
    """A pair with a number of sessions, and what its takeovers took."""

    def __init__(self, lab, count):
        self.count, self.takeovers, self.first_epoch = count, [], None
        self.pair, self.generator = common.paired(lab)
        self.establish_ms = self.generator.add(count)
        self._wait_holding()

    def takeover(self, kind):
        """One takeover, and the way back to a pair that is paired."""
        old, new = self.pair.wait_paired()
        time.sleep(REST_SECONDS)
        epoch = int(new.status()["epoch"])
        self.first_epoch = self.first_epoch or epoch
        if kind == "kill":
            old.kill()
        else:
            old.command("switchover")
        # Of its record, not of its role: where heartbeats are late, the other node may have taken over again since.
        taken = wait_until(f"{new.name} has gone through every step", lambda: _taken(new, epoch), timeout=STEP_SECONDS)
        rejoined = snapshot = None
        if kind == "kill":
            rejoined, snapshot = self._come_back(old, new)
        self._wait_holding()
        self.takeovers.append({
            "kind": kind, "node": new.name, "cause": taken["cause"], "epoch": int(taken["epoch"]), "total_ms": float(taken["total_ms"]),
            "steps_ms": {step["name"]: float(step["took_ms"]) for step in taken["steps"]},
            "rejoined_ms": rejoined, "snapshot_ms": snapshot})

    def _come_back(self, killed, active):
        """Starts a killed node again. Milliseconds until it holds what the active knows, and of them those of the snapshot.

        Told by what both log: to ask them all the time would be work for the same two cores.
        """
        began = time.monotonic()
        killed.start()
        timeout = STEP_SECONDS + self.count / SESSIONS_A_SECOND
        held, _ = killed.process.wait_for(r"everything the active knows is here", timeout, began)
        filled, _ = active.process.wait_for(r"pair state state=syncing", timeout, began)
        return round((held - began) * 1000), round((held - filled) * 1000)

    def result(self):
        """All takeovers, once every session has answered on the wire."""
        alive = self.generator.check()
        if alive != self.count:
            raise LabError(f"{alive} of {self.count} sessions answer after {len(self.takeovers)} takeovers")
        # Each takeover is an epoch: more of them are alarms of late heartbeats.
        last = int(self.pair.wait_paired()[0].status()["epoch"])
        unasked = last - self.first_epoch - sum(EPOCHS[each["kind"]] for each in self.takeovers)
        return {"establish_ms": self.establish_ms, "alive": alive, "takeovers": self.takeovers, "takeovers_not_asked_for": unasked}

    def _wait_holding(self):
        """Every session is owned by the active and held by the standby, with its CHILD SA."""
        timeout = STEP_SECONDS + self.count / SESSIONS_A_SECOND
        for node in self.pair.nodes.values():
            if not node.process.alive:
                said = "\n".join(text for _, text in node.process.lines[-3:])
                raise LabError(f"{node.name} is not there any more, with exit code {node.process.exit_code}\n{said}")
        active, standby = self.pair.wait_paired(timeout)
        seen = []

        def all_there():
            owner, holder = active.status() or {}, standby.status() or {}
            seen[:] = [int(owner.get(key, 0)) for key in ("sessions_owned", "children_owned")]
            seen.extend(int(holder.get(key, 0)) for key in ("sessions_held", "children_held"))
            return seen == [self.count] * 4

        try:
            wait_until("sessions on both nodes", all_there, timeout, every=0.02)
        except LabError:
            for node in self.pair.nodes.values():
                print("\n".join(_said(node)), flush=True)
            raise LabError(
                f"of {self.count} sessions the active owns {seen[0]} ({seen[1]} CHILD SAs), the standby holds {seen[2]} ({seen[3]})"
            ) from None


def _said(node):
    """The last notices and warnings of a node, without what it says of every session."""
    lines = [f"    {node.name}: {text}" for _, text in node.process.lines if " info " not in text]
    return lines[-LINES_SHOWN:]


def _taken(gateway, since):
    """The last takeover as the operator's command tells it, once it is of a later epoch and all its steps are in."""
    status = json.loads(gateway.command("status", "--json").stdout)
    taken = status.get("last_takeover") or {}
    if int(taken.get("epoch", 0)) <= since or [step["name"] for step in taken.get("steps", [])] != list(STEPS):
        return None
    failed = {name: status["counters"][name] for name in STEP_FAILURES if int(status["counters"].get(name, 0))}
    if failed:
        raise LabError(f"{gateway.name} in epoch {taken['epoch']}: {failed}")
    return taken
