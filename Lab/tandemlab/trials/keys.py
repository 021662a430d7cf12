"""A node with keys that the other does not know: no link, a clear error, and the active goes on undisturbed."""

import os
import time

from ..gateway import make_key
from ..processes import LabError
from .span import Quiet

WATCH_S = 4.0


def foreign_keys(lab, checks, active, standby):
    """The standby comes back with a certificate that the active has not pinned; then with its own again."""
    standby.stop()
    _wait_unpaired(active)
    try:
        _with_foreign_key(lab, checks, active, standby)
    finally:
        standby.stop()
        standby.start()
        lab.pair.wait_paired()
        lab.probes.wait_flowing(time.monotonic())


def _with_foreign_key(lab, checks, active, standby):
    foreign = os.path.join(standby.directory, "foreign")
    make_key(standby.build, standby.name, active.name, foreign)
    text = standby.configuration
    for suffix in ("crt", "key"):
        text = text.replace(f'"pair/{standby.name}.{suffix}"', f'"foreign/{standby.name}.{suffix}"')
    path = standby.write("tandem-foreign.toml", text)
    since = time.monotonic()
    with Quiet(lab, checks).during("a certificate that is not the pinned one"):
        standby.start(path)
        time.sleep(WATCH_S)
    for gateway in (active, standby):
        name = f"{gateway.name} says clearly that the certificate is not the pinned one"
        try:
            _, line = gateway.process.wait_for(r"(?i)certificate|authentic", timeout=2.0, since=since)
            checks.expect(name, True, line[:160])
        except LabError as error:
            checks.expect(name, False, str(error).splitlines()[0])
    state = active.status()
    checks.expect("no pair with a foreign certificate", state["role"] == "active" and state["pair_state"] != "paired", state["pair_reason"])


def _wait_unpaired(active, timeout=5.0):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and (active.status() or {}).get("pair_state") == "paired":
        time.sleep(0.05)
