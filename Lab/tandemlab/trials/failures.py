"""Deaths of other kinds than the demo's: frozen, all processes at once, the whole host, a short stop, and an orderly end."""

import os
import signal
import time

from ..processes import LabError, run, wait_until
from .span import measure

#: Blackouts in milliseconds. A frozen or beheaded host still has its addresses; the successor's announcements must win over it.
LIMITS_MS = {"frozen": 1000, "beheaded": 250, "host": 250, "orderly": 100}


class Failures:
    def __init__(self, lab, checks, times_count=True):
        self.lab, self.checks, self.times_count = lab, checks, times_count

    def frozen(self):
        """SIGSTOP of the active: its guard must let go of the addresses, the peer takes over."""
        old, new = self.lab.pair.wait_paired()
        self._takeover("frozen", f"{old.name} frozen (SIGSTOP)", old, new, lambda: old.freeze())
        self._expect_released(old, "the frozen node's guard lets go of the addresses")
        old.process.send_signal(signal.SIGCONT)
        self._comes_back(old, "frozen", wait=1.0)

    def short_freeze(self):
        """Stopped for less and for a little more than it takes to be declared dead: whoever owns then, one does."""
        for seconds in (0.1, 0.25):
            old, _ = self.lab.pair.wait_paired()
            before, start = self.lab.client.proof(), time.monotonic()
            old.freeze()
            time.sleep(seconds)
            old.process.send_signal(signal.SIGCONT)
            time.sleep(0.5)
            if not old.process.alive:
                old.start()
            active, standby = self.lab.pair.wait_paired()
            self.lab.probes.wait_flowing(time.monotonic())
            after = self.lab.client.proof()
            worst = max(gap.blackout_ms for gap in measure(self.lab, start, time.monotonic()))
            self.checks.expect(
                f"stopped for {seconds * 1000:.0f} ms: one active, one standby, the same SAs", before == after,
                f"{active.name} active, {standby.name} standby, blackout {worst:.0f} ms")

    def beheaded(self):
        """All of the active's processes at once, the guard too; its host stays, and keeps the addresses."""
        old, new = self.lab.pair.wait_paired()
        self._takeover("beheaded", f"every process on {old.name} killed", old, new, lambda: self._kill_host(old))
        self._comes_back(old, "beheaded")
        self._expect_released(old, "the node that came back lets go of addresses that it no longer owns")

    def host(self):
        """Links and processes at the same moment; then a reboot."""
        old, new = self.lab.pair.wait_paired()

        def die():
            self.lab.network.cut(old.name)
            self._kill_host(old)

        self._takeover("host", f"{old.name} loses links and processes", old, new, die)
        self._reboot(old)
        self._comes_back(old, "host")

    def orderly(self):
        """SIGTERM, as `systemctl stop` does."""
        old, new = self.lab.pair.wait_paired()
        codes = []
        self._takeover("orderly", f"{old.name} is stopped (SIGTERM)", old, new, lambda: codes.append(old.process.end()))
        self.checks.expect("an orderly end has exit status 0", codes == [0], str(codes))
        self._expect_released(old, "a stopped node has let go of the addresses")
        self._comes_back(old, "orderly")

    def _takeover(self, kind, text, old, new, action):
        before, epoch, start = self.lab.client.proof(), int(new.status()["epoch"]), time.monotonic()
        action()
        state = self.lab.pair.wait_active(new, epoch)
        self.lab.probes.wait_flowing(time.monotonic())
        time.sleep(0.5)
        after = self.lab.client.proof()
        gaps = measure(self.lab, start, time.monotonic() - 0.1)
        worst, lost = max(gap.blackout_ms for gap in gaps), max(gap.lost for gap in gaps)
        limit = LIMITS_MS[kind]
        detail = f"{state['last_takeover']['cause']}, blackout {worst:.0f} ms, {lost} probes lost"
        self.checks.expect(f"{text}: {new.name} carries on with the same SAs", before == after, detail)
        bound = f"at most {limit} ms" if self.times_count else "not judged here"
        self.checks.expect(f"{text}: blackout {bound}", worst <= limit or not self.times_count, detail)

    def _comes_back(self, old, kind, wait=0.0):
        """Without a word from the operator it is standby, and the pair is paired."""
        deadline = time.monotonic() + wait
        while old.process.alive and time.monotonic() < deadline:
            time.sleep(0.05)
        if not old.process.alive:
            old.start()
        start = time.monotonic()
        active, standby = self.lab.pair.wait_paired()
        time.sleep(0.2)
        gaps = measure(self.lab, start, time.monotonic() - 0.1)
        worst, lost = max(gap.blackout_ms for gap in gaps), max(gap.lost for gap in gaps)
        self.checks.expect(
            f"{kind}: {old.name} comes back as standby, the pair is paired, nobody notices", standby is old and lost == 0,
            f"{active.name} active; longest gap {worst:.0f} ms, {lost} probes lost")

    def _expect_released(self, gateway, name):
        try:
            wait_until(name, lambda: not gateway.holds_addresses(), timeout=3.0)
            self.checks.expect(name, True)
        except LabError:
            self.checks.expect(name, False, f"{gateway.name} has {gateway.holds_addresses()}")

    def _kill_host(self, gateway):
        """Ends what runs in the gateway's namespace, all of it started for it; the guard before it can do its duty."""
        inode = os.stat(f"/run/netns/{self.lab.network.name(gateway.name)}").st_ino
        for pid in self.lab.network.processes():
            if pid != gateway.process.pid and os.stat(f"/proc/{pid}/ns/net").st_ino == inode:
                os.kill(pid, signal.SIGKILL)
        gateway.process.kill()

    def _reboot(self, gateway):
        """What a reboot does to a host: no shared address is left on it; then its links come up."""
        host = self.lab.network.name(gateway.name)
        held = gateway.holds_addresses()
        for address, interface in (("192.0.2.10/24", "eth0"), ("10.10.0.1/16", "eth1")):
            if address.split("/")[0] in held:
                run("ip", "-n", host, "address", "del", address, "dev", interface)
        self.lab.network.heal(gateway.name)
