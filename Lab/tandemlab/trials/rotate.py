"""`tandem pair rotate` under a live stream, on either node; and nodes that die in the middle of it."""

import json
import os
import random
import stat
import threading
import time

from ..processes import run
from .span import Quiet

#: Deaths in the middle of a rotation, of either node.
DEATHS = 4


def rotate(lab, checks, active, standby):
    """Returns what it took, in milliseconds."""
    figures = {}
    for gateway in (active, standby):
        figures[gateway.name] = _undisturbed(lab, checks, gateway)
    _starts_with_the_new_files(lab, checks, standby)
    rng = random.Random(7)
    for number in range(DEATHS):
        _death(lab, checks, number, rng.uniform(0.0, 0.03))
    active, standby = lab.pair.wait_paired()
    for gateway in (active, standby):
        # What a death left open stands in nobody's way.
        done = gateway.command("pair", "rotate", "--json", check=False)
        checks.expect(f"{gateway.name} rotates after all that", done.returncode == 0, (done.stdout + done.stderr).strip()[-120:])
    _expect_files(checks, active, standby)
    return figures


def _undisturbed(lab, checks, gateway):
    other = lab.pair.nodes[gateway.peer]
    before, epoch = _fingerprint(gateway, gateway.name), int(gateway.status()["epoch"])
    with Quiet(lab, checks).during(f"a new certificate of {gateway.name}"), _Watch(lab) as watch:
        done = gateway.command("pair", "rotate", "--days", "100", "--json", check=False)
        time.sleep(0.3)
    checks.expect(f"tandem pair rotate on {gateway.name}", done.returncode == 0, (done.stdout + done.stderr).strip()[-160:])
    summary = json.loads(done.stdout)
    after = _fingerprint(gateway, gateway.name)
    checks.expect("its certificate is a new one", after != before and after == summary["certificate_sha256"], after[:16])
    _expect_files(checks, gateway, other)
    states = sorted(watch.states)
    checks.expect("the pair is paired all the time, nobody takes over", watch.states == {("paired", epoch)}, f"{watch.count} looks: {states}")
    status = json.loads(gateway.command("status", "--json").stdout)
    shown = [(item["node"], item["days_left"], item["in_use"]) for item in status["certificates"]]
    checks.expect("tandem status shows when it ends", (gateway.name, 99, True) in shown and len(shown) == 2, str(shown))
    return summary["total_ms"]


def _expect_files(checks, one, other):
    for gateway, peer in ((one, other), (other, one)):
        own, known = _fingerprint(gateway, gateway.name), _fingerprint(peer, gateway.name)
        checks.expect(f"{peer.name} has the certificate of {gateway.name}, and no other", own == known, own[:16])
        folder = os.path.join(gateway.directory, "pair")
        mode = stat.S_IMODE(os.stat(os.path.join(folder, f"{gateway.name}.key")).st_mode)
        left = [name for name in os.listdir(folder) if name.endswith(".next")]
        checks.expect(f"{gateway.name}: the key is root's alone, nothing is left beside it", mode == 0o600 and not left, f"{mode:o} {left}")


def _starts_with_the_new_files(lab, checks, standby):
    standby.stop()
    standby.start()
    active, again = lab.pair.wait_paired()
    checks.expect("a node that starts anew is known by its new certificate", again is standby, f"{active.name} active")


def _death(lab, checks, number, after):
    """One node is asked to rotate; one of the two is killed a moment later."""
    active, standby = lab.pair.wait_paired()
    rotating = (active, standby)[number % 2]
    dying = (standby, active)[number // 2 % 2]
    asking = threading.Thread(target=lambda: rotating.command("pair", "rotate", check=False))
    asking.start()
    time.sleep(after)
    dying.kill()
    asking.join()
    dying.start()
    now, _ = lab.pair.wait_paired()
    lab.probes.wait_flowing(time.monotonic())
    checks.expect(
        f"{dying.name} dies {after * 1000:.0f} ms after {rotating.name} began to rotate: they find together", True, f"{now.name} active")


def _fingerprint(gateway, name):
    """SHA-256 of the only certificate in a file of the gateway's; of none, when there are more."""
    path = os.path.join(gateway.directory, "pair", f"{name}.crt")
    with open(path) as file:
        if file.read().count("BEGIN CERTIFICATE") != 1:
            return "more than one"
    shown = run("openssl", "x509", "-in", path, "-noout", "-fingerprint", "-sha256").stdout
    return shown.split("=", 1)[1].strip().replace(":", "").lower()


class _Watch:
    """Asks both nodes again and again what they are."""

    def __init__(self, lab):
        self.lab, self.states, self.count = lab, set(), 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ends.set()
        self._thread.join()

    def _look(self):
        while not self._ends.is_set():
            for gateway in self.lab.pair.nodes.values():
                state = gateway.status() or {"pair_state": "silent", "epoch": 0}
                self.states.add((state["pair_state"], int(state["epoch"])))
                self.count += 1
            time.sleep(0.005)
