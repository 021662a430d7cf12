"""More reasons to hand over: a client-side interface that goes down, a tracked script that fails; and maintenance under a stream."""

import os
import time

from ..gateway import CONFIGURATION
from ..processes import run, wait_until
from .span import measure
from .wire import check_wire

RATE = 100
DOWNLOAD_RATE = 300e3
#: Blackouts in milliseconds. Whoever loses its interface hears the other node out for 100 ms first; a hand-over by plan costs nothing
#: but the neighbours' update.
LIMITS_MS = {"interface": 250, "script": 50, "drain": 50, "standby": 50}

_TRACK = """
[track]
handovers = 10

[[track.script]]
name = "backend"
command = ["{check}"]
interval = "500ms"
rise = 2
fall = 2
"""


def track(lab, checks, times_count=True):
    """In a laboratory of its own; returns the blackouts."""
    trial = _Track(lab, checks, times_count)
    lab.start_pair(trial.template())
    lab.start_client()
    lab.start_probes(RATE)
    lab.start_download(DOWNLOAD_RATE, 1)
    time.sleep(1.5)
    for step in (trial.interface, trial.script, trial.drain, trial.drained_alone, trial.standby):
        step()
        lab.download.check_alive()
    served, fetched = lab.download.finish(60)
    same = served["sha256"] == fetched["sha256"] and served["connections"] == 1
    checks.expect("track: one TCP connection all along, the same bytes at both ends", same, f"{fetched['bytes']} bytes")
    check_wire(lab, checks)
    return trial.blackouts


class _Track:
    def __init__(self, lab, checks, times_count):
        self.lab, self.checks, self.times_count = lab, checks, times_count
        self.blackouts = {}

    def template(self):
        """The pair's configuration, and a script that says what a file on each node's behalf says."""
        check = os.path.join(self.lab.directory, "check")
        with open(check, "w", opener=lambda path, flags: os.open(path, flags, 0o755)) as file:
            file.write(f"#!/bin/sh\n[ ! -e '{self._bad('$TANDEM_NODE')}' ] || {{ echo 'no answer'; exit 1; }}\n".replace("'", '"'))
        os.chmod(check, 0o755)
        return CONFIGURATION + _TRACK.format(check=check)

    def _bad(self, name):
        return os.path.join(self.lab.directory, f"bad-{name}")

    def interface(self):
        """eth0 of the active, where its clients are."""
        old, new = self.lab.pair.wait_paired()
        link = ("ip", "-n", self.lab.network.name(old.name), "link", "set", "eth0")
        cause = self._moves("interface", old, new, lambda: run(*link, "down"))
        self.checks.expect("a client-side interface that goes down is why", cause.startswith("unfit: interface eth0 (down)"), cause)
        shown = old.command("status").stdout
        self.checks.expect("tandem status says so", "unfit: interface eth0: down" in shown, shown.strip()[:400])
        refused = new.command("switchover", check=False)
        self.checks.expect(
            "nobody hands over to it by plan", refused.returncode == 2 and "not fit: interface eth0" in refused.stderr,
            refused.stderr.strip())
        run(*link, "up")
        wait_until(f"{old.name} is fit", lambda: old.status()["condition"]["fitness"] == "fit", timeout=5)
        time.sleep(2.0)
        self.checks.expect("and nothing moves back by itself", new.status()["role"] == "active")

    def script(self):
        old, new = self.lab.pair.wait_paired()
        with open(self._bad(old.name), "w"):
            pass
        cause = self._moves("script", old, new, lambda: None)
        self.checks.expect("a script that fails is why", cause == "unfit: script backend (exit status 1: no answer)", cause)
        os.unlink(self._bad(old.name))
        wait_until(f"{old.name} is fit", lambda: old.status()["condition"]["fitness"] == "fit", timeout=20)

    def drain(self):
        old, new = self.lab.pair.wait_paired()
        wait_until(f"{new.name} can take over", lambda: old.status()["condition"]["peer_fitness"] == "fit", timeout=5)
        said = []
        cause = self._moves("drain", old, new, lambda: said.append(old.command("drain").stdout.strip()))
        self.checks.expect("tandem drain hands over", cause == "drain" and said[0].startswith(f"drained: {new.name} owns"), said[0])
        refused = new.command("switchover", check=False)
        self.checks.expect(
            "a drained node is not made active by plan", refused.returncode == 2 and "out of service" in refused.stderr,
            refused.stderr.strip())
        both = new.command("drain", "--timeout", "0", check=False)
        self.checks.expect("both nodes cannot be drained", both.returncode == 2 and "out of service itself" in both.stderr, both.stderr.strip())

    def drained_alone(self):
        """The active dies while the other one is drained."""
        dead, drained = self.lab.pair.wait_paired()
        epoch = int(drained.status()["epoch"])
        dead.kill()
        state = self.lab.pair.wait_active(drained, epoch)
        self.lab.probes.wait_flowing(time.monotonic())
        said = drained.command("events").stdout
        self.checks.expect(
            "a drained node serves when nobody else does, and says so",
            state["condition"]["maintenance"] == "draining" and "serves although it is out of service (drain)" in said,
            state["last_takeover"]["cause"])
        epoch = int(drained.status()["epoch"])
        dead.start()
        dead.wait_answering()
        state = self.lab.pair.wait_active(dead, epoch, timeout=30)
        self.checks.expect("it hands back by itself", state["last_takeover"]["cause"] == "drain", state["last_takeover"]["cause"])
        self.lab.pair.wait_paired()
        resumed = drained.command("resume").stdout.strip()
        self.checks.expect("tandem resume brings it back", resumed == "in service: this node is standby", resumed)

    def standby(self):
        old, new = self.lab.pair.wait_paired()
        wait_until(f"{new.name} can take over", lambda: old.status()["condition"]["peer_maintenance"] == "none", timeout=5)
        said = []
        self._moves("standby", old, new, lambda: said.append(old.command("standby").stdout.strip()))
        self.checks.expect("tandem standby hands over and stays", said[0].startswith(f"standby: {new.name} owns"), said[0])
        old.command("resume")

    def _moves(self, kind, old, new, action):
        """Everything moves from `old` to `new` inside the same SAs; returns the cause that the new owner shows."""
        before, epoch, start = self.lab.client.proof(), int(new.status()["epoch"]), time.monotonic()
        action()
        state = self.lab.pair.wait_active(new, epoch)
        self.lab.probes.wait_flowing(time.monotonic())
        time.sleep(0.3)
        after, gaps = self.lab.client.proof(), measure(self.lab, start, time.monotonic() - 0.1)
        worst, lost = max(gap.blackout_ms for gap in gaps), max(gap.lost for gap in gaps)
        self.blackouts[kind] = round(worst, 3)
        cause, limit = state["last_takeover"]["cause"], LIMITS_MS[kind]
        self.lab.pair.wait_paired()
        bound = f"at most {limit} ms" if self.times_count else "not judged here"
        self.checks.expect(
            f"track, {kind}: {new.name} goes on with the same SAs, blackout {bound}",
            before == after and (worst <= limit or not self.times_count), f"{cause}; blackout {worst:.1f} ms, {lost} probes lost")
        return cause
