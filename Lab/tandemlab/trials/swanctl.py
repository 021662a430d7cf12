"""Stock `swanctl`, unchanged, against tandemd's control socket; and `tandem` beside it."""

import json
import time

from ..namespaces import OUTER_SHARED
from ..processes import Process, run, wait_until
from ..strongswan import road_conf
from ..vici import Vici
from .refusals import SECOND_IDENTITY
from .span import Quiet


def swanctl(lab, checks, active, standby):
    proof = lab.client.proof()
    listed = _swanctl(active, "--list-sas")
    wanted = [f"{spi}_" for spi in proof.ike_spis] + [*proof.child_spis, "anna@example.net", "ESTABLISHED", "INSTALLED"]
    absent = [text for text in wanted if text not in listed]
    seen = f"absent: {absent}" if absent else f"{len(listed.splitlines())} lines"
    checks.expect("swanctl --list-sas shows the client's SAs", not absent, seen)
    conns = _swanctl(active, "--list-conns")
    checks.expect("swanctl --list-conns", "road: IKEv2" in conns and "net: TUNNEL" in conns, conns.splitlines()[0] if conns else "")
    stats = _swanctl(active, "--stats")
    checks.expect("swanctl --stats", "uptime" in stats and "IKE_SAs: 1 total" in stats, "; ".join(stats.splitlines()[:2]))
    pools = _swanctl(active, "--list-pools")
    checks.expect("swanctl --list-pools", "10.20.0" in pools, pools.strip()[:80])
    with Quiet(lab, checks).during("swanctl --terminate of another session"):
        _terminate(lab, checks, active)
    _operator(checks, active, standby)


def _terminate(lab, checks, active):
    """A second client comes, is seen by `swanctl --log` and ended by `swanctl --terminate`."""
    log = Process("swanctl-log", ["swanctl", "--log", "--uri", f"unix://{active.socket}"])
    time.sleep(0.3)
    stranger = lab.start_stranger(road_conf(OUTER_SHARED, identity=SECOND_IDENTITY))
    stranger.initiate("net")
    listed = active_sessions(active)
    mine = [sa["uniqueid"] for _, sa in listed if sa["remote-id"] == SECOND_IDENTITY]
    checks.expect("a second client is listed", len(mine) == 1, f"{len(listed)} sessions")
    _swanctl(active, "--terminate", "--ike-id", mine[0])
    wait_until("the second client's SA is gone", lambda: not stranger.associations(), timeout=5)
    checks.expect("swanctl --terminate ends one session on both sides", len(active_sessions(active)) == 1)
    stranger.stop()
    log.end()
    shown = [text for _, text in log.lines if SECOND_IDENTITY in text]
    checks.expect("swanctl --log shows what happens", bool(shown), shown[0][:120] if shown else log.tail(3))


def active_sessions(gateway):
    with Vici(gateway.socket) as vici:
        return [pair for event in vici.stream("list-sas", "list-sa") for pair in event.items()]


def _operator(checks, active, standby):
    """`tandem`'s commands that show something, as JSON."""
    status = json.loads(active.command("status", "--json").stdout)
    checks.expect("tandem status --json", status["role"] == "active" and status["sessions_owned"] == 1, f"epoch {status['epoch']}")
    held = json.loads(standby.command("status", "--json").stdout)
    checks.expect("the standby holds the session", held["role"] == "standby" and held["sessions_held"] == 1, str(held["sessions_held"]))
    sessions = json.loads(standby.command("sessions", "--json").stdout)
    checks.expect("tandem sessions --json on the standby", "anna@example.net" in json.dumps(sessions))
    events = json.loads(active.command("events", "--json").stdout)
    checks.expect("tandem events --json", len(events["events"]) > 0, f"{len(events['events'])} events")
    plain = active.command("status").stdout
    checks.expect("tandem status for people", "active" in plain and "paired" in plain, plain.splitlines()[0] if plain else "")
    refused = standby.command("switchover", check=False)
    checks.expect("tandem switchover on the standby is refused", refused.returncode != 0, (refused.stdout + refused.stderr).strip()[:120])


def _swanctl(gateway, *arguments):
    done = run("swanctl", *arguments, "--uri", f"unix://{gateway.socket}", check=False, timeout=15)
    return done.stdout if done.returncode == 0 else f"exit {done.returncode}: {done.stderr}"
