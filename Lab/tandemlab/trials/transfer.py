"""The paper's six steps: a client that is a Tandem, two gateways that are no pair, and a stream that goes on while the client moves."""

import json
import os
import time

from ..caller import BEHIND, BEHIND_NET, Caller, admitting
from ..gateway import Gateway, make_key
from ..namespaces import CLIENT, INNER, NODES, SERVER
from ..probes import ProbePair
from ..processes import Process, run, wait_until
from .redirect import ADDRESSES, ALONE

RATE = 1000
#: Probes that can be under way at a time, at this rate.
IN_FLIGHT = 2
LINK_PORT = 4511

LINKED = """
[transfer]
listen = "@ADDRESS@:{port}"
certificate = "pair/{name}.crt"
key = "pair/{name}.key"

[[gateway]]
name = "{peer}"
link = "{peer_address}:{port}"
certificate = "pair/{peer}.crt"
may_request = true
mobike = "{mobike}"
"""

#: The way back to the client leads through whichever gateway has it: the program of the one to which it comes says so. It has the
#: daemon's few powers, and cannot enter the server's namespace: a program there listens, in the place of a routing protocol.
ROUTE = """\
#!/bin/sh
case "$PLUTO_VERB" in
up-client*) echo {inner} >{pipe} ;;
esac
"""
ROUTER = 'exec 3<>{pipe}; while read -r inner <&3; do ip route replace {net} via "$inner"; done'


def transfer(lab, checks):
    folder = os.path.join(lab.directory, "transfer")
    gateways = linked(lab, folder, admitting(ALONE))
    client, ends = Caller(lab, ADDRESSES["sg1"], folder), []
    client.add_address()
    run("ip", "-n", lab.network.name("server"), "route", "replace", BEHIND_NET, "via", INNER["sg1"])
    try:
        for each in (*gateways.values(), client):
            each.start()
            ends.append(each.stop)
            each.wait_answering()
        _move(lab, checks, client, gateways, folder, ends)
    finally:
        for end in reversed(ends):
            end()
        client.remove_address()


def linked(lab, folder, template, mobike="auto"):
    """Both gateways, each with the other as [[gateway]]; their programs say to which of them a client has come."""
    gateways = {name: _linked(lab, name, folder, template, mobike) for name in NODES}
    for gateway in gateways.values():
        with open(os.path.join(gateways[gateway.peer].directory, "pair", f"{gateway.peer}.crt")) as file:
            gateway.write(f"pair/{gateway.peer}.crt", file.read())
    return gateways


def _linked(lab, name, folder, template, mobike):
    gateway = Gateway(lab.network, name, folder, lab.settings.build, lab.settings.dataplane)
    make_key(lab.settings.build, name, gateway.peer, os.path.join(gateway.directory, "pair"))
    script = gateway.write("route", ROUTE.format(pipe=os.path.join(folder, "routes"), inner=INNER[name]), mode=0o755)
    text = template.replace('esp_proposals = ["default"]', f'esp_proposals = ["default"]\nupdown = "{script}"')
    text += LINKED.format(name=name, peer=gateway.peer, peer_address=ADDRESSES[gateway.peer], port=LINK_PORT, mobike=mobike)
    gateway.configure(text.replace("@ADDRESS@", ADDRESSES[name]))
    return gateway


def _move(lab, checks, client, gateways, folder, ends):
    follow_routes(lab, folder, BEHIND_NET, ends)
    called = client.command("initiate", "net", check=False)
    checks.expect("the client's tunnel to the first gateway stands", called.returncode == 0, called.stderr.strip())
    probes = ProbePair(lab.network, folder, BEHIND, SERVER, RATE, run_id="-transfer")
    ends.append(probes.stop)
    probes.wait_flowing(time.monotonic())
    time.sleep(1.0)
    one, other = gateways["sg1"], gateways["sg2"]
    # It goes; it comes back, and the gateway to which it comes asks for it; it goes because the client asks.
    for name, asked, left, arrived, arguments in (
        ("tandem transfer --to", one, one, other, ["anna@example.net", "--to", "sg2"]),
        ("tandem transfer --from", one, other, one, [CLIENT, "--from", "sg2"]),
        ("tandem transfer --to at the client", client, one, other, ["gate", "--to", ADDRESSES["sg2"]]),
    ):
        before, start = counter(arrived, "ike_half_open_created"), time.monotonic()
        done = asked.command("transfer", *arguments, "--json", check=False)
        told = json.loads(done.stdout) if done.stdout.startswith("{") else {"reason": done.stderr.strip()}
        checks.expect(f"{name} moves the session", done.returncode == 0 and told.get("outcome") == "done", json.dumps(told))
        wait_until("the session has moved", lambda: sessions(left) == 0 and sessions(arrived) == 1, timeout=10)
        probes.wait_flowing(time.monotonic())
        time.sleep(1.0)
        gaps = {each.key: each.interruption(start, time.monotonic() - 0.2, 1000 / RATE) for each in probes.directions}
        detail = ", ".join(f"{key} {gap.blackout_ms:.1f} ms, {gap.lost} of {gap.sent} lost" for key, gap in gaps.items())
        checks.expect(f"{name}: from the client nothing is lost", gaps["client_to_server"].lost == 0, detail)
        in_flight = gaps["server_to_client"].lost <= IN_FLIGHT
        checks.expect(f"{name}: on the way back nothing is lost but what is in flight", in_flight, detail)
        again = counter(arrived, "ike_half_open_created") - before
        checks.expect(f"{name}: nobody authenticated anew", again == 0, f"{again} IKE SAs were begun")
    checks.expect("the client has one IKE SA all along", counter(client, "ike_initiations_started") == 1)


def follow_routes(lab, folder, net, ends):
    """Has the server send what is for `net` to the gateway whose program spoke last."""
    pipe = os.path.join(folder, "routes")
    os.mkfifo(pipe, 0o600)
    router = Process("router", ["sh", "-c", ROUTER.format(pipe=pipe, net=net)], network=lab.network.name("server"))
    ends.append(router.end)


def sessions(gateway):
    return int(gateway.status()["sessions_owned"])


def counter(gateway, name):
    return int(gateway.status()["counters"].get(name, 0))
