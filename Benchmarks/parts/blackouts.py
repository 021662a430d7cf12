"""What a client misses of a dying gateway: the pair, strongSwan's `ha` plugin, and a cold standby that gets the address afterwards.

Both strongSwan sides need somebody who moves the addresses; here it is a thread with the patience of the pair's own heartbeats.
"""

import os
import threading
import time

from tandemlab.checks import Checks
from tandemlab.namespaces import INNER_SHARED, OUTER_SHARED, PAIR, POOL_NET
from tandemlab.processes import LabError, run, wait_until
from tandemlab.strongswan import PRE_SHARED_KEY, Charon, road_conf
from tandemlab.trials.acts import Acts
from tandemlab.trials.span import measure as measure_span

from . import common

KINDS = ("kill", "switchover", "cut")
REPEATS, QUICK_REPEATS = 8, 1
#: Heartbeats of the pair, of the plugin, and looks of the script that moves the cold standby's addresses.
INTERVAL_S, DEAD_AFTER = 0.05, 3
#: Between a stock client's first packets and the act: the plugin has synchronized by then.
SETTLE_S = 2.0
#: Until a stock client has to have traffic again; one whose packets are taken for replays waits as long as it was connected.
RECOVER_SECONDS = 120
SHARED = ((f"{OUTER_SHARED}/24", "eth0"), (f"{INNER_SHARED}/16", "eth1"))

GATEWAY = """\
connections {{ road {{
    local_addrs = {address}
    pools = road
    rekey_time = 0
    local {{ auth = psk
        id = gw.example.net }}
    remote {{ auth = psk
    }}
    children {{ net {{
        local_ts = 10.10.0.0/16
        rekey_time = 0
    }} }}
}} }}
secrets {{ ike-all {{
    secret = "{secret}"
}} }}
"""
POOL = """\
pools {{ road {{
    addrs = {pool}
}} }}
"""
#: One segment, since there is no kernel here that shares one address between two nodes; heartbeats as the pair's.
HA = """\
    plugins {{ ha {{
        local = {local}
        remote = {remote}
        segment_count = 1
        fifo_interface = yes
        monitor = yes
        resync = yes
        heartbeat_delay = {delay:.0f}
        heartbeat_timeout = {timeout:.0f}
        pools {{ road = {pool} }}
    }} }}
    filelog {{ log {{
        cfg = 1
        flush_line = yes
    }} }}
"""
TAKEN = "taking all segments"
#: A client that asks every second and gives up soon: far quicker than stock settings, which take minutes.
EAGER = """\
    retransmit_timeout = 0.5
    retransmit_base = 1
    retransmit_tries = 2
    close_ike_on_child_failure = no
"""


def measure(options):
    repeats = options.repeats or (QUICK_REPEATS if options.quick else REPEATS)
    out = {"tandem": _pair(options, repeats), "ha_plugin": {}, "cold_standby": {}}
    for index in range(repeats * len(KINDS)):
        # Each in a laboratory of its own, in turn: neither plugin nor client is to know of the act before.
        for side, make in (("ha_plugin", _HA), ("cold_standby", _Cold)):
            kind = KINDS[index % len(KINDS)]
            with common.laboratory(options) as lab:
                _note(out[side], kind, **_act(lab, make(lab), kind))
    return out


def _note(out, kind, **values):
    for key, value in values.items():
        out.setdefault(kind, {}).setdefault(key, []).append(value)


def _pair(options, repeats):
    out = {}
    with common.laboratory(options) as lab:
        lab.start_pair()
        lab.start_client()
        lab.start_probes(100)
        checks = Checks()
        acts = Acts(lab, checks)
        for index in range(repeats * len(KINDS)):
            act = acts.run(KINDS[index % len(KINDS)], f"{index + 1}")
            _note(out, act.kind, blackout_ms=round(act.blackout_ms, 2), lost=act.lost)
        if checks.failed:
            raise LabError("; ".join(checks.failed))
    return out


def _act(lab, stock, kind):
    """One death or hand-over of the first charon, under probes; the longer gap, and each direction's."""
    stock.start()
    lab.client.initiate("net")
    lab.start_probes(100)
    time.sleep(SETTLE_S)
    start = time.monotonic()
    script = threading.Thread(target=stock.watch, args=(kind,), daemon=True)
    script.start()
    if kind == "kill":
        stock.nodes[0].process.kill()
    elif kind == "cut":
        stock.is_cut = True
        lab.network.cut("sg1")
    script.join(30)
    lab.probes.wait_flowing(time.monotonic(), timeout=RECOVER_SECONDS)
    time.sleep(1.0)
    gaps = measure_span(lab, start, time.monotonic() - 0.1)
    each = {f"{direction.key}_ms": round(gap.blackout_ms, 1) for direction, gap in zip(lab.probes.directions, gaps)}
    return {"blackout_ms": max(each.values()), **each, "lost": max(gap.lost for gap in gaps)}


class _Stock:
    """Two charons of which the first has the shared addresses, and a client."""

    extra, pool = {"sg1": "", "sg2": ""}, POOL.format(pool=POOL_NET)

    def __init__(self, lab):
        self.lab, self.is_cut = lab, False
        conf = GATEWAY.format(address=OUTER_SHARED, secret=PRE_SHARED_KEY) + self.pool
        self.nodes = [
            self.make(lab.network, name, lab.directory, conf, extra=common.CHARON_TUNING + self.extra[name]) for name in ("sg1", "sg2")]
        client = road_conf(OUTER_SHARED, dpd="1s", more="keyingtries = 0").replace(
            "rekey_time = 0\n        }", "rekey_time = 0\n            dpd_action = restart\n            close_action = start\n        }")
        lab.client = Charon(lab.network, "client", lab.directory, client, lab.settings.client_kernel, extra=EAGER)

    make = Charon

    def start(self):
        self.add_addresses("sg1")
        for charon in (*self.nodes, self.lab.client):
            self.lab.at_end(charon.stop)
            charon.start()
            self.started(charon)

    def started(self, charon):
        pass

    def add_addresses(self, host):
        for address, interface in SHARED:
            run("ip", "-n", self.lab.network.name(host), "address", "add", address, "dev", interface)
        # Instead of an announcement: both neighbours forget the other node's hardware address at once.
        for neighbour in ("client", "server"):
            run("ip", "-n", self.lab.network.name(neighbour), "neigh", "flush", "dev", "eth0", check=False)

    def move(self):
        for address, interface in SHARED:
            run("ip", "-n", self.lab.network.name("sg1"), "address", "del", address, "dev", interface, check=False)
        self.add_addresses("sg2")

    @property
    def seems_dead(self):
        return self.is_cut or not self.nodes[0].process.alive


class _Cold(_Stock):
    """The second one knows nothing of the client, who has to call again."""

    def watch(self, kind):
        """What keepalived would do: three looks in vain, then the addresses move. When planned, the first one takes its leave."""
        if kind == "switchover":
            self.nodes[0].process.end()
        misses = 0
        while kind != "switchover" and misses < DEAD_AFTER:
            time.sleep(INTERVAL_S)
            misses = misses + 1 if self.seems_dead else 0
        self.move()


class _HACharon(Charon):
    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        path = self.environment["STRONGSWAN_CONF"]
        with open(path) as file:
            text = file.read()
        self._write("strongswan.conf", text.replace(" vici updown", " ha vici updown"))

    @property
    def fifo(self):
        """Where the plugin takes orders, as seen from outside of its own /run."""
        return f"/proc/{self.process.pid}/root/run/charon.ha"


class _HA(_Stock):
    """The second one has every session from the first; it notices the death itself, and the script moves the addresses then."""

    pool, make = "", _HACharon
    extra = {
        name: HA.format(
            local=PAIR[name], remote=PAIR[other], pool=POOL_NET, delay=INTERVAL_S * 1000, timeout=INTERVAL_S * DEAD_AFTER * 1000)
        for name, other in (("sg1", "sg2"), ("sg2", "sg1"))}

    def started(self, charon):
        """The first one has to have taken the segment before there is a second one."""
        if charon is self.nodes[0]:
            wait_until("the first charon has the segment", lambda: TAKEN in charon.log(), 20, every=0.02)

    def watch(self, kind):
        second = self.nodes[1]
        seen = second.log().count(TAKEN)
        if kind == "switchover":
            with open(second.fifo, "w") as fifo:
                fifo.write("+1\n")
        else:
            wait_until("the second charon takes the segment", lambda: second.log().count(TAKEN) > seen, 20, every=0.005)
        self.move()
