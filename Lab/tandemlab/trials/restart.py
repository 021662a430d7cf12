"""Both daemons lost at once, and a gateway that stands alone restarted: the sessions come back from disk, and the client does not notice more
than a pause."""

import os
import signal
import time

from ..gateway import CONFIGURATION, Pair
from ..processes import wait_until
from .wire import check_wire

STATE = '\n[state]\ndirectory = "state"\nkey_file = "state.key"\n'


def template():
    return CONFIGURATION + STATE


def alone():
    """The same gateway without a pair."""
    head, rest = CONFIGURATION.split("[pair]\n", 1)
    return head + rest[rest.index("[[address]]"):] + STATE


def restart(lab, checks):
    lab.pair = Pair(lab.network, lab.directory, lab.settings.build, lab.settings.dataplane, lab.settings.heartbeat)
    for node in lab.pair.nodes.values():
        _prepare(node, template())
    lab.at_end(lab.pair.stop)
    lab.pair.start()
    lab.pair.wait_paired()
    lab.start_client()
    lab.start_probes(100)
    figures = {}
    for gateway in lab.pair.nodes.values():
        _settle(gateway)
    for round_ in (1, 2):
        figures[f"pair_{round_}"] = _lose_both(lab, checks, round_)
    figures["alone"] = _restart_alone(lab, checks)
    lab.probes.wait_flowing(time.monotonic())
    check_wire(lab, checks)
    return figures


def _prepare(node, configuration):
    node.configure(configuration)
    path = os.path.join(node.directory, "state.key")
    if not os.path.exists(path):
        with open(path, "wb", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
            file.write(os.urandom(32))


def _settle(gateway):
    wait_until(f"{gateway.name} has all on disk", lambda: _on_disk(gateway.status()), timeout=10)


def _on_disk(status):
    return status and status["state"] in ("yes", True) and int(status["state_unwritten"]) == 0 and not status["state_error"]


def _lose_both(lab, checks, round_):
    before = lab.client.proof()
    epochs = [int(node.status()["epoch"]) for node in lab.pair.nodes.values()]
    # Neither has the time to miss the other.
    for node in lab.pair.nodes.values():
        node.process.send_signal(signal.SIGKILL)
    for node in lab.pair.nodes.values():
        node.process.kill()
    killed = time.monotonic()
    time.sleep(0.5)
    for node in lab.pair.nodes.values():
        node.start()
    active, standby = lab.pair.wait_paired()
    return _expect_same(lab, checks, before, killed, active, max(epochs), f"both killed at once ({round_})")


def _restart_alone(lab, checks):
    active, standby = lab.pair.wait_paired()
    standby.stop()
    before = lab.client.proof()
    _settle(active)
    epoch = int(active.status()["epoch"])
    active.process.kill()
    killed = time.monotonic()
    active.configure(alone())
    active.start()
    active.wait_answering()
    figure = _expect_same(lab, checks, before, killed, active, epoch, "a gateway alone killed and started")
    # And in good order, as a reboot does.
    before, epoch = lab.client.proof(), int(active.status()["epoch"])
    active.process.end()
    ended = time.monotonic()
    active.start()
    active.wait_answering()
    _expect_same(lab, checks, before, ended, active, epoch, "a gateway alone stopped and started")
    return figure


def _expect_same(lab, checks, before, since, active, epoch, name):
    lab.probes.wait_flowing(since + 0.6, timeout=30)
    flowing = time.monotonic() - since
    status = active.status()
    checks.expect(f"{name}: the same IKE SA and CHILD SA, no authentication", lab.client.proof() == before, f"{active.name} is active")
    checks.expect(
        f"{name}: the sessions came from disk", int(status["state_restored"]) == 1, f"{status['state_restored']} restored")
    checks.expect(f"{name}: an epoch that was never used", int(status["epoch"]) > epoch, f"{epoch}, then {status['epoch']}")
    # charon forgets an exchange of its own that crosses the synchronization.
    wait_until("the message IDs are synchronized", lambda: int(active.status()["counters"]["ike_syncs_completed"]) >= 1, timeout=10)
    # Both ways of asking still work inside the IKE SA.
    lab.client.rekey_child("net")
    after = lab.client.settled_proof(unlike=lambda now: now.child_spis != before.child_spis)
    active.command("rekey", "road")
    last = lab.client.settled_proof(unlike=lambda now: now.ike_spis != after.ike_spis)
    checks.expect(f"{name}: rekeys by the client and by the gateway", last.ike_spis != before.ike_spis)
    for node in lab.pair.nodes.values():
        if node.process.alive:
            _settle(node)
    return round(flowing, 2)
