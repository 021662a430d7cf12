"""Clients that must be refused: a wrong key, an unknown identity, no common proposal, no common selector."""

import time

from ..namespaces import OUTER_SHARED
from ..processes import LabError
from ..strongswan import PRE_SHARED_KEY, road_conf
from ..vici import ViciError
from .span import Quiet

SECOND_IDENTITY = "bert@example.net"

#: connection → (the stranger's swanctl.conf, what its log says, what the gateway's log must say)
REFUSED = {
    "wrong pre-shared key": (
        road_conf(OUTER_SHARED, connection="wrongkey", identity="carl@example.net", secret="not the one"),
        "AUTHENTICATION_FAILED", r"(?i)(fail|refus|denied).*carl@example\.net|carl@example\.net.*(fail|refus|denied)"),
    "unknown identity": (
        road_conf(OUTER_SHARED, connection="unknown", identity="eve@nowhere.example", secret=PRE_SHARED_KEY),
        "AUTHENTICATION_FAILED", r"(?i)(fail|refus|denied).*eve@nowhere\.example|eve@nowhere\.example.*(fail|refus|denied)"),
    "no common IKE proposal": (
        road_conf(OUTER_SHARED, connection="noproposal", identity=SECOND_IDENTITY, more="proposals = aes128-sha1-modp1024"),
        "NO_PROPOSAL_CHOSEN", r"(?i)no[ _]proposal|no (common|acceptable) proposal"),
    "no common traffic selector": (
        road_conf(OUTER_SHARED, connection="noselector", identity=SECOND_IDENTITY, remote_ts="172.16.0.0/12"),
        "TS_UNACCEPTABLE", r"(?i)traffic ?selector|TS_UNACCEPTABLE"),
}


def refusals(lab, checks, active):
    """Starts a charon at another address for each; the established client lives on meanwhile."""
    quiet = Quiet(lab, checks)
    for name, (conf, client_log, gateway_log) in REFUSED.items():
        with quiet.during(name):
            since = time.monotonic()
            stranger = lab.start_stranger(conf)
            connection = conf.split()[2]
            checks.expect(f"{name} is refused", _is_refused(stranger, client_log), client_log)
            _expect_log(checks, f"{name} is logged clearly", active, gateway_log, since)
            _end(stranger, connection)


def _is_refused(stranger, reason):
    try:
        stranger.initiate("net", timeout_ms=6000)
        return False
    except ViciError:
        return reason in stranger.log()


def _expect_log(checks, name, gateway, pattern, since):
    try:
        _, line = gateway.process.wait_for(pattern, timeout=3.0, since=since)
        checks.expect(name, True, line[:160])
    except LabError as error:
        checks.expect(name, False, str(error).splitlines()[0])


def _end(stranger, connection):
    """An IKE SA without a child may have come up; it goes with its charon."""
    try:
        stranger.terminate(connection)
    except (ViciError, OSError):
        pass
    stranger.stop()
