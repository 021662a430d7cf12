"""Faults one by one, each with what it cost: which sessions went on, what was lost in each direction, and who owned before and after."""

import os
import resource
import signal
import time
from dataclasses import dataclass

from ..namespaces import BRIDGES
from ..processes import LabError, run
from .span import measure

#: How long a fault lasts that is mended again: longer than anybody waits before taking over.
LASTS_S = 2.0
#: Restarts of a storm, and the time between a death and the next start.
STORM = 5
STORM_PAUSE_S = 0.3
#: How long everything has to come back by itself.
PATIENCE_S = 60


@dataclass
class Row:
    """One line of the matrix."""

    fault: str
    sessions: int
    kept: int
    blackout_ms: float
    lost: dict
    sent: dict
    owner_before: str
    owner_after: str
    cause: str
    start: float
    end: float
    authentications: int = 0

    def result(self):
        return {
            "fault": self.fault, "sessions": self.sessions, "sessions_kept": self.kept, "blackout_ms": round(self.blackout_ms, 1),
            "lost": self.lost, "sent": self.sent, "owner_before": self.owner_before, "owner_after": self.owner_after,
            "cause": self.cause, "authentications": self.authentications}


class Matrix:
    """The faults, under the running probes of a laboratory."""

    def __init__(self, lab, clients, small_folders):
        self.lab, self.clients, self.small_folders = lab, clients, small_folders
        self.faults = {
            "kill": ("SIGKILL of the active", self._kill),
            "kill_standby": ("SIGKILL of the standby", self._kill_standby),
            "freeze": (f"SIGSTOP of the active for {LASTS_S:.0f} s, SIGCONT", lambda old, new: self._freeze(old, LASTS_S)),
            "short_freeze": ("SIGSTOP of the active for 250 ms, SIGCONT", lambda old, new: self._freeze(old, 0.25)),
            "cut_outer": ("the active's link to the clients is cut", lambda old, new: self._cut(old, ["outer"])),
            "cut_inner": ("the active's link to the servers is cut", lambda old, new: self._cut(old, ["inner"])),
            "cut_pair": ("the link between the two is cut", lambda old, new: self._cut(old, ["pair"])),
            "cut_all": ("all links of the active are cut", lambda old, new: self._cut(old, BRIDGES)),
            "mute": ("the active is heard on no link any more", lambda old, new: self._one_way(old, outwards=True)),
            "deaf": ("the active hears nothing on any link", lambda old, new: self._one_way(old, outwards=False)),
            "storm": (f"the active is killed and started {STORM} times in a row", self._storm),
            "full_disk": ("the active's disk is full; then SIGKILL, and a start", self._full_disk),
            "memory": ("the active gets no more memory", self._memory),
            "clock": ("the active's time of day jumps a day ahead, and two back", self._clock),
        }

    def run(self, name):
        text, act = self.faults[name]
        old, new = self.lab.pair.wait_paired(PATIENCE_S)
        before, start = [client.proof() for client in self.clients], time.monotonic()
        mend = act(old, new)
        time.sleep(0.5)
        if mend:
            mend()
        for gateway in (old, new):
            if not gateway.process.alive:
                gateway.start()
        active, _ = self.lab.pair.wait_paired(PATIENCE_S)
        self.lab.probes.wait_flowing(time.monotonic(), timeout=30)
        time.sleep(0.5)
        end = time.monotonic() - 0.2
        kept = sum(_same(client, proof) for client, proof in zip(self.clients, before))
        gaps = {direction.key: gap for direction, gap in zip(self.lab.probes.directions, measure(self.lab, start, end))}
        status = active.status()
        cause = status["last_takeover"]["cause"] if active is not old else "-"
        return Row(
            text, len(before), kept, max(gap.blackout_ms for gap in gaps.values()), {key: gap.lost for key, gap in gaps.items()},
            {key: gap.sent for key, gap in gaps.items()}, old.name, active.name, cause, start, end)

    # Each does it, and returns what mends it again, if that is not the end of it.

    def _kill(self, old, _):
        old.kill()

    def _kill_standby(self, _, new):
        new.kill()

    def _freeze(self, old, seconds):
        old.freeze()
        time.sleep(seconds)
        old.process.send_signal(signal.SIGCONT)
        # Its guard may end it: it says that nobody may go on as if nothing had been.
        time.sleep(1.0)

    def _cut(self, old, bridges):
        self.lab.network.cut(old.name, bridges)
        time.sleep(LASTS_S)
        return lambda: self.lab.network.heal(old.name, bridges)

    def _one_way(self, old, outwards):
        """A token bucket that is smaller than any frame lets none out."""
        interfaces = [
            (old.name, interface) if outwards else ("switch", f"{bridge[0]}-{old.name}")
            for interface, bridge, _ in self.lab.network.ports[old.name]]
        for host, interface in interfaces:
            self._tc(host, "add", interface, "tbf", "rate", "8bit", "burst", "10", "limit", "10")
        time.sleep(LASTS_S)
        return lambda: [self._tc(host, "del", interface) for host, interface in interfaces]

    def _tc(self, host, verb, interface, *what):
        run("tc", "-n", self.lab.network.name(host), "qdisc", verb, "dev", interface, "root", *what)

    def _storm(self, old, _):
        for _ in range(STORM):
            old.kill()
            time.sleep(STORM_PAUSE_S)
            old.start()
            time.sleep(STORM_PAUSE_S)

    def _full_disk(self, old, _):
        path = os.path.join(self.small_folders[old.name], "full")
        _fill(path)
        old.kill()
        time.sleep(STORM_PAUSE_S)
        old.start()
        time.sleep(LASTS_S)
        return lambda: os.unlink(path)

    def _memory(self, old, _):
        with open(f"/proc/{old.process.pid}/status") as file:
            size = next(int(line.split()[1]) for line in file if line.startswith("VmSize"))
        resource.prlimit(old.process.pid, resource.RLIMIT_AS, (size * 1024, size * 1024))
        # What it has free inside is soon used up by sessions that nobody keeps.
        for _ in range(50):
            old.status()
        time.sleep(LASTS_S)
        # What it has by now is what it does with; a new life gets what it wants.

    def _clock(self, old, _):
        for jump in (86_400, -86_400):
            old.set_clock(jump)
            # Its daemon looks once a second.
            time.sleep(1.0 + LASTS_S)
        return lambda: old.set_clock(0)


def _same(client, proof):
    try:
        return client.proof() == proof
    except LabError:
        return False


def _fill(path):
    """Until there is no room."""
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return
