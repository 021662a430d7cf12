"""A span of a trial in which the established client must not notice anything, or must get over a takeover."""

import contextlib
import time

from ..processes import LabError


class Quiet:
    """Watches the established client while something else goes on."""

    #: Longest gap between probes of a 100/s stream that counts as undisturbed on a busy machine with two cores.
    BLACKOUT_MS_MAX = 60.0

    def __init__(self, lab, checks):
        self.lab, self.checks = lab, checks

    @contextlib.contextmanager
    def during(self, name):
        """What is inside may not touch the client's tunnel."""
        before, start = self.lab.client.proof(), time.monotonic()
        yield
        time.sleep(0.05)
        try:
            self.lab.probes.wait_flowing(time.monotonic(), timeout=5.0)
        except LabError:
            self.checks.expect(f"{name}: the established client does not notice", False, "probes do not flow any more")
            return
        time.sleep(0.15)  # probes under way and the recorders' buffers
        after = self.lab.client.proof()
        gaps = measure(self.lab, start, time.monotonic() - 0.1)
        worst, lost = max(gap.blackout_ms for gap in gaps), sum(gap.lost for gap in gaps)
        self.checks.expect(
            f"{name}: the established client does not notice", before == after and worst <= self.BLACKOUT_MS_MAX and lost == 0,
            f"same SAs: {before == after}, longest gap {worst:.1f} ms, {lost} probes lost")


def measure(lab, start, end):
    """Both directions' interruptions between two moments."""
    return [direction.interruption(start, end, 1000 / lab.probes.rate) for direction in lab.probes.directions]
