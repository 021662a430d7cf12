"""Two gateways that know nothing of each other, and a stock client that is sent from one to the other (RFC 5685): in its session, and as
a new client in IKE_SA_INIT. Not in IKE_AUTH: strongSwan 5.9.8 dies of a REDIRECT there (a double free as it begins anew)."""

import json
import os
import socket
import time

from .. import kernel
from ..gateway import HEAD, Gateway
from ..namespaces import INNER, NODES, SERVER
from ..processes import run, wait_until
from ..strongswan import Charon, road_conf
from ..vici import ViciError

ADDRESSES = {"sg1": "192.0.2.21", "sg2": "192.0.2.22"}
POOLS = {"sg1": "10.20.1.0/24", "sg2": "10.20.2.0/24"}
PORT = 9040

ALONE = HEAD + """\
[[address]]
address = "@ADDRESS@/24"
interface = "eth0"

[connections.road]
local_addrs = ["@ADDRESS@"]
pools = ["road"]
local = {{ auth = "psk", id = "gw.example.net" }}
remote = {{ auth = "psk", id = "%any" }}

[connections.road.children.net]
local_ts = ["10.10.0.0/16"]
esp_proposals = ["default"]

[secrets.road]
ids = ["gw.example.net", "anna@example.net"]
file = "road.psk"

[pools.road]
addrs = "@POOL@"
"""


def redirect(lab, checks):
    folder = os.path.join(lab.directory, "redirect")
    gateways = [_alone(lab, name, folder) for name in NODES]
    client = Charon(lab.network, "client", folder, road_conf(ADDRESSES["sg1"]), lab.settings.client_kernel)
    try:
        for gateway in gateways:
            gateway.start()
            gateway.wait_answering()
        client.start()
        _session(lab, checks, client, *gateways)
        _new_client(lab, checks, client, *gateways)
    finally:
        client.stop()
        for gateway in gateways:
            gateway.stop()


def _alone(lab, name, folder):
    gateway = Gateway(lab.network, name, folder, lab.settings.build, lab.settings.dataplane)
    gateway.configure(ALONE.replace("@ADDRESS@", ADDRESSES[name]).replace("@POOL@", POOLS[name]))
    run("ip", "-n", lab.network.name("server"), "route", "replace", POOLS[name], "via", INNER[name])
    return gateway


def _session(lab, checks, client, first, second):
    client.initiate("net")
    before = client.proof()
    _expect_traffic(lab, checks, client, "traffic flows through the first gateway")
    began = time.monotonic()
    told = _redirect(first, "anna@example.net", "--to", ADDRESSES["sg2"])
    checks.expect("the client is told", told["sent"] == 1 and told["matched"] == 1 and not told["refused"], json.dumps(told))
    after = _wait_at(client, first, second)
    took = round((time.monotonic() - began) * 1000)
    checks.expect("it authenticates at the second gateway", after.ike_spis != before.ike_spis, f"{took} ms")
    _expect_traffic(lab, checks, client, "traffic flows through the second gateway")
    back = second.command("redirect", "--all", "--to", ADDRESSES["sg1"], check=False)
    checks.expect("it is not sent back at once", back.returncode == 2 and "just sent" in back.stdout, back.stdout.strip()[-120:])
    _leave(client, second)


def _new_client(lab, checks, client, first, second):
    shown = _redirect(first, "--new", "--to", ADDRESSES["sg2"])
    checks.expect("new clients are sent on", shown["new_peers_to"] == ADDRESSES["sg2"])
    _call(client)
    _wait_at(client, first, second)
    _expect_traffic(lab, checks, client, "a new client is at the second gateway, told in IKE_SA_INIT")
    _redirect(first, "--new", "--off")
    _leave(client, second)
    _call(client)
    _wait_at(client, second, first)
    checks.expect("and is let in again", True)
    _leave(client, first)


def _call(client):
    """A redirected call may be reported as failed; where the client ends is looked at afterwards."""
    try:
        client.initiate("net")
    except (OSError, ViciError):
        pass


def _redirect(gateway, *arguments):
    return json.loads(gateway.command("redirect", *arguments, "--json").stdout)


def _sessions(gateway):
    return int(gateway.status()["sessions_owned"])


def _wait_at(client, left, arrived):
    wait_until(
        f"the client is at {arrived.name}", lambda: _sessions(left) == 0 and _sessions(arrived) == 1 and client.associations(), timeout=30)
    return client.settled_proof(timeout=10)


def _leave(client, gateway):
    client.terminate("road")
    wait_until("the client is gone", lambda: _sessions(gateway) == 0 and not client.associations(), timeout=10)


def _expect_traffic(lab, checks, client, name):
    """Ten datagrams from the client's virtual address to the server, and their answers."""
    address = client.proof().virtual_address
    with kernel.inside(lab.network.name("client")):
        near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with kernel.inside(lab.network.name("server")):
        far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with near, far:
        near.bind((address, PORT))
        far.bind((SERVER, PORT))
        near.settimeout(1.0)
        far.settimeout(1.0)
        there, back = 0, 0
        for number in range(10):
            near.sendto(b"%d" % number, (SERVER, PORT))
            try:
                data, source = far.recvfrom(64)
                there += 1
                far.sendto(data, source)
                back += near.recvfrom(64)[0] == data
            except TimeoutError:
                continue
        checks.expect(name, there == 10 and back == 10, f"{there} arrived, {back} came back, of 10")
