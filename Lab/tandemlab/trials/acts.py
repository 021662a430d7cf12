"""What may happen to a tunnel that moves between gateways: one act, measured, and both rekeys by the client after it."""

import os
import time
from dataclasses import dataclass

from .span import measure

#: How long a context is nowhere but in a file.
AWAY_S = 1.0


@dataclass
class Act:
    """What an act was, and what it cost."""

    kind: str
    blackout_ms: float
    lost: int
    cause: str

    def result(self):
        return {"kind": self.kind, "blackout_ms": round(self.blackout_ms, 3), "lost": self.lost, "cause": self.cause}


class Acts:
    """Runs them under the running probes of a laboratory."""

    def __init__(self, lab, checks):
        self.lab, self.checks = lab, checks
        self.kinds = {"kill": self._kill, "switchover": self._switchover, "cut": self._cut, "get_put": self._get_put}

    def run(self, kind, name):
        """One act; afterwards the pair is on its way to be paired again. Returns an `Act`."""
        lab = self.lab
        old, new = lab.pair.wait_paired()
        before, start = lab.client.proof(), time.monotonic()
        state, epilogue = self.kinds[kind](old, new)
        lab.probes.wait_flowing(time.monotonic())
        time.sleep(0.3)
        after = lab.client.proof()
        gaps = measure(lab, start, time.monotonic() - 0.1)
        cause = state["last_takeover"]["cause"] if state else "put"
        act = Act(kind, max(gap.blackout_ms for gap in gaps), max(gap.lost for gap in gaps), cause)
        same = before == after
        rekeyed = same and self._rekey(after)
        lab.probes.wait_flowing(time.monotonic())
        self.checks.expect(
            f"{name}: the same tunnel, and both rekeys work", same and rekeyed,
            f"{cause}, blackout {act.blackout_ms:.1f} ms, {act.lost} lost, same {same}, rekeyed {rekeyed}")
        epilogue()
        return act

    def _kill(self, old, new):
        return self._takeover(old, new, old.kill), old.start

    def _switchover(self, old, new):
        return self._takeover(old, new, lambda: old.command("switchover")), lambda: None

    def _cut(self, old, new):
        cut = self.lab.network.cut
        return self._takeover(old, new, lambda: cut(old.name)), lambda: self.lab.network.heal(old.name)

    def _takeover(self, old, new, action):
        epoch = int(new.status()["epoch"])
        action()
        return self.lab.pair.wait_active(new, epoch)

    def _get_put(self, old, _):
        """The paper's GET, a while in a file, and its PUT, at the same gateway."""
        path = os.path.join(self.lab.directory, "context.json")
        old.command("get", "road", "--detach", "-o", path)
        time.sleep(AWAY_S)
        old.command("put", path)
        os.unlink(path)
        return None, lambda: None

    def _rekey(self, proof):
        """The client rekeys its CHILD SA, then its IKE SA; each must leave exactly one, and a new one."""
        client = self.lab.client
        client.rekey_child("net")
        child = client.settled_proof(unlike=lambda now: now.child_unique_id != proof.child_unique_id)
        client.rekey_ike("road")
        ike = client.settled_proof(unlike=lambda now: now.ike_unique_id != proof.ike_unique_id)
        return ike.child_spis == child.child_spis and ike.virtual_address == proof.virtual_address
