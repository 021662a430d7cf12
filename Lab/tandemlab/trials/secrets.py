"""Both daemons at their most talkative, through everything that has to do with keys; what they say is searched when the laboratory ends."""

import os
import time

from ..leaks import check_search


def secrets(lab, checks, active, standby):
    check_search(checks)
    for gateway in (standby, active):
        gateway.write("tandem.toml", gateway.configuration.replace("[runtime]\n", '[runtime]\nlog_level = "debug"\n', 1))
        gateway.stop()
        gateway.start()
        lab.pair.wait_paired()
    lab.probes.wait_flowing(time.monotonic())
    active, standby = lab.pair.wait_paired()
    lab.leaks.collect(active)
    lab.client.rekey_child("net")
    lab.client.rekey_ike("road")
    lab.client.settled_proof()
    lab.leaks.collect(active)
    active.command("rekey", "road", check=False)
    time.sleep(0.5)
    path = os.path.join(lab.directory, "secrets.json")
    active.command("get", "road", "-o", path)
    refused = active.command("put", path, check=False)
    checks.expect("a context that is here already is refused", refused.returncode == 2)
    active.command("switchover")
    active, standby = lab.pair.wait_paired()
    lab.leaks.collect(active)
    for gateway in (active, standby):
        said = gateway.process.find(r"\bdebug\b") is not None
        checks.expect(f"{gateway.name} is at its most talkative", said)
    lab.probes.wait_flowing(time.monotonic())
