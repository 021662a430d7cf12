"""One TCP stream and small datagrams through the tunnel: the user data plane at both ends, beside kernel-libipsec at both ends."""

import json
import time

from tandemlab.caller import BEHIND, BEHIND_NET, CONFIGURATION, Caller
from tandemlab.gateway import HEAD, Gateway
from tandemlab.namespaces import CLIENT, OUTER, OUTER_SHARED, SERVER
from tandemlab.processes import LabError, Process, run, wait_until
from tandemlab.strongswan import PRE_SHARED_KEY, Charon

from . import common

SECONDS, ATTEMPTS = 4, 3
SMALL = 100
#: Octets of a full inner packet, in about.
PACKET = 1400
GATEWAY = HEAD + """\
[[address]]
address = "{outer_shared}/24"
interface = "eth0"

[connections.road]
local_addrs = ["{outer_shared}"]
local = {{ auth = "psk", id = "gw.example.net" }}
remote = {{ auth = "psk", id = "%any" }}

[connections.road.children.net]
local_ts = ["10.10.0.0/16"]
remote_ts = ["NET"]
esp_proposals = ["aes128gcm16"]

[secrets.road]
ids = ["gw.example.net", "%any"]
file = "road.psk"
""".replace("NET", BEHIND_NET)

STOCK = """\
connections {{ gate {{
    local_addrs = {local}
    {remote}
    rekey_time = 0
    local {{ auth = psk
        id = {own} }}
    remote {{ auth = psk
        id = {other} }}
    children {{ net {{
        local_ts = {local_ts}
        remote_ts = {remote_ts}
        esp_proposals = aes128gcm16
        rekey_time = 0
    }} }}
}} }}
secrets {{ ike-all {{
    secret = "{secret}"
}} }}
"""


def measure(options):
    rounds = 1 if options.quick else 5
    out = {"user": _empty(), "libipsec": _empty()}
    # In turn, each in a laboratory of its own: one round of one, then one round of the other.
    for _ in range(rounds):
        for name, start in (("user", _tandem), ("libipsec", _strongswan)):
            with common.laboratory(options) as lab:
                processes = start(lab)
                _run(lab, processes, out[name])
    # What one core of this machine can seal at most, were there nothing else to do.
    out["openssl_mbit"] = round(PACKET * 8 / common.openssl_nanoseconds(PACKET) * 1000, 1)
    return out


def _empty():
    return {"tcp_up_mbit": [], "tcp_down_mbit": [], "small_up_kpps": [], "small_lost_percent": [], "gateway_processors": []}


def _tandem(lab):
    gateway = Gateway(lab.network, "sg1", lab.directory, lab.settings.build, "user")
    gateway.configure(GATEWAY)
    lab.at_end(gateway.stop)
    gateway.start()
    gateway.wait_answering()
    caller = Caller(lab, OUTER_SHARED)
    caller.configure(CONFIGURATION.replace('esp_proposals = ["default"]', 'esp_proposals = ["aes128gcm16"]'))
    caller.add_address()
    lab.at_end(caller.stop)
    caller.start()
    caller.wait_answering()
    wait_until("the call is answered", lambda: caller.command("initiate", "net", check=False).returncode == 0, 20, every=0.3)
    _route(lab, "10.10.0.2")
    return gateway.process


def _strongswan(lab):
    def conf(local, remote, own, other, local_ts, remote_ts):
        return STOCK.format(
            local=local, remote=f"remote_addrs = {remote}" if remote else "", own=own, other=other, local_ts=local_ts, remote_ts=remote_ts,
            secret=PRE_SHARED_KEY)

    caller, gate = "anna@example.net", common.GATEWAY_ID
    server = Charon(
        lab.network, "sg1", lab.directory, conf(OUTER["sg1"], "", gate, caller, "10.10.0.0/16", f"{BEHIND}/32"), extra=common.CHARON_TUNING)
    client = Charon(
        lab.network, "client", lab.directory, conf(CLIENT, OUTER["sg1"], caller, gate, f"{BEHIND}/32", "10.10.0.0/16"),
        extra=common.CHARON_TUNING)
    run("ip", "-n", lab.network.name("client"), "address", "add", f"{BEHIND}/32", "dev", "lo")
    for charon in (server, client):
        lab.at_end(charon.stop)
        charon.start()
    client.initiate("net")
    _route(lab, "10.10.0.2")
    return server.process


def _route(lab, gateway):
    run("ip", "-n", lab.network.name("server"), "route", "replace", BEHIND_NET, "via", gateway)


def _run(lab, gateway, out):
    server = Process("iperf3", ["iperf3", "-s", "--forceflush", "-B", SERVER], network=lab.network.name("server"))
    lab.at_end(server.end)
    server.wait_for("listening", 10)
    _iperf(lab, "-t", "1")
    used, began = common.processor_seconds(gateway.pid), time.monotonic()
    out["tcp_up_mbit"].append(_mbit(_iperf(lab)))
    out["gateway_processors"].append(round((common.processor_seconds(gateway.pid) - used) / (time.monotonic() - began), 2))
    out["tcp_down_mbit"].append(_mbit(_iperf(lab, "-R")))
    small = _iperf(lab, "-u", "-b", "0", "-l", SMALL)["end"]["sum"]
    arrived = small["packets"] - small["lost_packets"]
    out["small_up_kpps"].append(round(arrived / small["seconds"] / 1000, 2))
    out["small_lost_percent"].append(round(small["lost_packets"] / max(1, small["packets"]) * 100, 1))


def _iperf(lab, *arguments):
    for _ in range(ATTEMPTS):
        done = run(
            "iperf3", "-J", "-c", SERVER, "-B", BEHIND, "-t", SECONDS, *arguments, network=lab.network.name("client"), check=False,
            timeout=60)
        # It may end well without its figures, when the other end's did not come through the busy tunnel in time.
        result = json.loads(done.stdout) if done.returncode == 0 else {}
        if "error" not in result and ("sum" if "-u" in arguments else "sum_received") in result.get("end", {}):
            return result
        time.sleep(0.5)
    raise LabError(f"iperf3: {done.stdout[-500:]}{done.stderr}")


def _mbit(result):
    return round(result["end"]["sum_received"]["bits_per_second"] / 1e6, 1)
