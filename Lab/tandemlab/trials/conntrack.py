"""Connections through a NAT and a stateful firewall on the gateways, over the death of one of them."""

import http.client
import json
import os
import sys
import time

from .. import kernel
from ..download import Download
from ..gateway import CONFIGURATION
from ..namespaces import INNER_SHARED, NODES, POOL_NET, SERVER
from ..processes import run, wait_until

#: A second address of the server, to which connections are not translated: only the firewall knows them.
PLAIN_SERVER = "10.10.0.81"
#: After the takeover both downloads have to get so much further.
FURTHER_BYTES = 100_000
PATIENCE_S = 20.0

FILTER = (
    "-P FORWARD DROP",
    "-A FORWARD -m conntrack --ctstate INVALID -j DROP",
    "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
    f"-A FORWARD -s {POOL_NET} -m conntrack --ctstate NEW -j ACCEPT",
)
TRANSLATION = f"-t nat -A POSTROUTING -s {POOL_NET} -d {SERVER} -j SNAT --to-source {INNER_SHARED}"
#: A firewall that takes a connection from its middle for nothing (net.netfilter.nf_conntrack_tcp_loose).
STRICT = "/proc/sys/net/netfilter/nf_conntrack_tcp_loose"


def add_firewall(network):
    """The same rules on both gateways, as an operator keeps them: the rules are the same, the table of connections is not."""
    network.batch("server", [f"address add {PLAIN_SERVER}/16 dev eth0"])
    for host in NODES:
        for rule in (*FILTER, TRANSLATION):
            run("iptables-legacy", "-w", *rule.split(), network=network.name(host))
        with kernel.inside(network.name(host)), open(STRICT, "w") as file:
            file.write("0")


def counters(gateway):
    """What a gateway counts of connections."""
    state = gateway.status() or {}
    return {name: int(value) for name, value in state.get("counters", {}).items() if name.startswith("flow")}


class Downloads:
    """Two at once: one whose source is translated, one that is only filtered."""

    def __init__(self, lab, rate):
        self.all = {}
        for name, server in (("translated", SERVER), ("filtered", PLAIN_SERVER)):
            folder = os.path.join(lab.directory, name)
            os.makedirs(folder)
            self.all[name] = Download(lab.network, folder, lab.client.proof().virtual_address, server, rate, 1)
            lab.at_end(self.all[name].stop)

    def bytes_so_far(self):
        return {name: each.bytes_so_far() for name, each in self.all.items()}

    def went_on(self, before, patience=PATIENCE_S):
        """Which of them got further since `before`; waits for all of them."""
        deadline, done = time.monotonic() + patience, set()
        while len(done) < len(self.all) and time.monotonic() < deadline:
            done |= {name for name, count in self.bytes_so_far().items() if count >= before[name] + FURTHER_BYTES}
            time.sleep(0.05)
        return done

    def finish(self):
        """Whether both ends of each have the same, over one connection."""
        same = {}
        for name, each in self.all.items():
            served, fetched = each.finish(60)
            same[name] = served["sha256"] == fetched["sha256"] and served["connections"] == 1 and fetched["opened"] == fetched["closed"]
        return same


def survives(lab, checks, downloads, kill=True):
    """With replication: the connections are in the standby's kernel beforehand, and go on after the takeover."""
    old, new = lab.pair.wait_paired()
    what = f"SIGKILL of {old.name}" if kill else f"switchover from {old.name}"
    wait_until("the standby's kernel has both connections", lambda: counters(new).get("flows_held", 0) >= 2, timeout=15)
    held = known(lab, new.name)
    checks.expect(
        f"{what}: {new.name}'s kernel knows the connections beforehand",
        len(held) >= 2 and any(f"dst={INNER_SHARED}" in line for line in held), f"{len(held)} of port 8080")
    before, epoch, start = downloads.bytes_so_far(), int(new.status()["epoch"]), time.monotonic()
    if kill:
        old.kill()
    else:
        old.command("switchover")
    lab.pair.wait_active(new, epoch)
    before = downloads.bytes_so_far()
    done = downloads.went_on(before)
    checks.expect(
        f"{what}: both connections go on at {new.name}", done == set(downloads.all),
        f"{', '.join(sorted(done)) or 'none'} after {time.monotonic() - start:.1f} s; {counters(new)}")
    if kill:
        old.start()
    lab.pair.wait_paired()


def breaks(lab, checks, downloads):
    """Without replication: the successor's firewall knows neither, and none of them goes on."""
    old, new = lab.pair.wait_paired()
    epoch = int(new.status()["epoch"])
    old.kill()
    lab.pair.wait_active(new, epoch)
    time.sleep(1.0)
    done = downloads.went_on(downloads.bytes_so_far(), patience=8.0)
    checks.expect(
        f"without replication: after SIGKILL of {old.name} neither connection goes on at {new.name}", not done,
        f"went on: {', '.join(sorted(done)) or 'none'}")
    # The tunnel is not what broke: a new connection is let through.
    checks.expect(f"without replication: a new connection works at {new.name}", connects(lab), "")
    old.start()
    lab.pair.wait_paired()


def connects(lab, timeout=10.0):
    """Whether the client can open a connection through the tunnel."""
    try:
        with kernel.inside(lab.network.name("client")):
            connection = http.client.HTTPConnection(
                SERVER, 8080, timeout=timeout, source_address=(lab.client.proof().virtual_address, 0))
            connection.connect()
            connection.close()
        return True
    except OSError as error:
        print(f"no new connection: {error}", file=sys.stderr)
        return False


def known(lab, host):
    """The entries of the downloads in a host's conntrack, as the kernel prints them."""
    with kernel.inside(lab.network.name(host)), open("/proc/thread-self/net/nf_conntrack") as file:
        return [line for line in file if "dport=8080" in line and "ESTABLISHED" in line]


def configuration(enable):
    """That of the gateways, with or without replication."""
    return CONFIGURATION + f"\n[conntrack]\nenable = {json.dumps(enable)}\n"
