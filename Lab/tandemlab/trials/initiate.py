"""The gateway calls a stock strongSwan: `swanctl --initiate`, traffic, the peer's rekeys, a switchover, and the end."""

import socket
import time

from .. import kernel
from ..namespaces import INNER_NET, OUTER_SHARED, SERVER, SITE, SITE_NET, STRANGER
from ..processes import run, wait_until
from ..strongswan import site_conf
from .span import Quiet

PORT = 9030


def initiate(lab, checks, active, standby):
    with Quiet(lab, checks).during("calls that fail"):
        _refusals(lab, checks, active, standby)
    site = lab.start_stranger(site_conf(STRANGER, OUTER_SHARED, SITE_NET, INNER_NET))
    with Quiet(lab, checks).during("a call"):
        done = _swanctl(active, "--initiate", "--child", "branch")
        checks.expect("swanctl --initiate calls a stock responder", done.returncode == 0, (done.stdout + done.stderr).strip()[-160:])
        first = site.settled_proof("headquarters", "branch")
        _expect_traffic(lab, checks, "traffic flows through the tunnel")
        again = active.command("initiate", "branch", check=False)
        checks.expect("tandem initiate of what is there succeeds", again.returncode == 0, again.stderr.strip())
        checks.expect("and makes nothing new", site.proof("headquarters", "branch") == first)
        site.rekey_child("branch")
        second = site.settled_proof("headquarters", "branch", unlike=lambda now: now.child_spis != first.child_spis)
        site.rekey_ike("headquarters")
        site.settled_proof("headquarters", "branch", unlike=lambda now: now.ike_spis != second.ike_spis)
        _expect_traffic(lab, checks, "traffic flows after the peer's rekeys of both kinds")
    before = site.proof("headquarters", "branch")
    active.command("switchover")
    lab.pair.wait_paired()
    lab.probes.wait_flowing(time.monotonic())
    _expect_traffic(lab, checks, "traffic flows after a switchover")
    checks.expect("inside the same SAs", site.proof("headquarters", "branch") == before)
    ended = standby.command("terminate", "site", check=False)
    wait_until("the site's SA is gone", lambda: not site.associations(), timeout=5)
    checks.expect("the new active ends the session", ended.returncode == 0, ended.stderr.strip())
    site.stop()
    standby.command("switchover")
    lab.pair.wait_paired()


def _refusals(lab, checks, active, standby):
    """What is said of calls that cannot be."""
    nobody = _swanctl(active, "--initiate", "--child", "net")
    checks.expect("nobody to call is said clearly", nobody.returncode != 0 and "%any" in nobody.stdout + nobody.stderr, _last(nobody))
    passive = standby.command("initiate", "branch", check=False)
    checks.expect("the standby does not call", passive.returncode != 0 and "standby" in passive.stderr, _last(passive))
    site = lab.start_stranger(site_conf(STRANGER, OUTER_SHARED, SITE_NET, INNER_NET, secret="not the one"))
    refused = active.command("initiate", "branch", check=False)
    said = refused.returncode != 0 and "AUTHENTICATION_FAILED" in refused.stderr
    checks.expect("a wrong pre-shared key is said clearly", said, _last(refused))
    site.stop()


def _expect_traffic(lab, checks, name):
    """Ten datagrams from the server to the site, and their answers."""
    with kernel.inside(lab.network.name("stranger")):
        far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with kernel.inside(lab.network.name("server")):
        near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with far, near:
        far.bind((SITE, PORT))
        near.bind((SERVER, PORT))
        far.settimeout(1.0)
        near.settimeout(1.0)
        there, back = 0, 0
        for number in range(10):
            near.sendto(b"%d" % number, (SITE, PORT))
            try:
                data, source = far.recvfrom(64)
                there += 1
                far.sendto(data, source)
                back += near.recvfrom(64)[0] == data
            except TimeoutError:
                continue
        checks.expect(name, there == 10 and back == 10, f"{there} arrived, {back} came back, of 10")


def _swanctl(gateway, *arguments):
    return run("swanctl", *arguments, "--timeout", "15", "--uri", f"unix://{gateway.socket}", check=False, timeout=20)


def _last(done):
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[-1][:160] if lines else f"exit {done.returncode}"
