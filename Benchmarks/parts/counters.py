"""Counter reports: ESP on a thousand sessions, each once in every report interval, and what that costs active, standby and one alone.

The packets are sealed beforehand with the sessions' own keys, so that the sender has only to send. Each moves its SA's inbound counter, of
which the active tells the standby at the end of the interval.
"""

import json
import math
import socket
import time

from tandemlab import kernel
from tandemlab.esp import ESP, Sealer, datagram
from tandemlab.namespaces import OUTER_SHARED, SERVER
from tandemlab.processes import LabError
from tandemlab.vici import Vici

from . import common

#: Reports that the user data plane hands over at once, and that so go in one entry: with as many sessions the entries tell the reports.
IN_ENTRY = 1024
SESSIONS = IN_ENTRY
#: `dataplane.counter_interval`: 50 intervals a second are 51,200 reports.
REPORT_S, CONFIGURATION = 0.02, common.ALONE.replace('kind = "{dataplane}"', 'kind = "{dataplane}"\ncounter_interval = "20ms"')
#: Packets of a session come somewhat more often, so that no report lacks a session; and so many of each.
INTERVAL_S, INTERVALS, QUICK_INTERVALS = 0.9 * REPORT_S, 500, 50
#: Where the inner packets go: a socket that nobody reads, so that the server answers nothing.
PORT = 9
#: Datagrams sent between two looks at the clock.
BURST = 50
IDLE_S, LOOK_S = 2.0, 0.2


def measure(options):
    common.need(options, "session-generator")
    count = options.counts[-1] if options.counts else SESSIONS
    intervals = QUICK_INTERVALS if options.quick else INTERVALS
    with common.laboratory(options) as lab:
        pair, generator = common.paired(lab, CONFIGURATION)
        generator.up_to(count)
        active, standby = common.wait_held(pair, count)
        paired = _run(lab, active, count, intervals, standby)
    with common.laboratory(options) as lab:
        gateway, generator = common.alone(lab, CONFIGURATION)
        generator.up_to(count)
        alone = _run(lab, gateway, count, intervals)
    return {"sessions": count, "intervals": intervals, "alone": alone, **_derived(paired, alone), "paired": paired}


def _run(lab, gateway, count, intervals, standby=None):
    """Traffic on every session; what it cost each node, beyond what the node does when idle."""
    rounds = _sealed(gateway, count, intervals)
    nodes = {"active": gateway, **({"standby": standby} if standby else {})}
    idle = _Span(nodes)
    time.sleep(IDLE_S)
    idle = idle.rates()
    lags = []
    with kernel.inside(lab.network.name("server")):
        sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sink.bind((SERVER, PORT))
    with kernel.inside(lab.network.name("client")):
        out = socket.socket(socket.AF_INET, socket.SOCK_RAW, ESP)
        out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    with sink, out:
        span, look = _Span(nodes), 0.0
        for packets in rounds:
            _send(out, packets)
            if standby and time.monotonic() >= look:
                lags += [int(state["lag_deltas"]) for state in (gateway.status(),) if state]
                look = time.monotonic() + LOOK_S
        busy = span.rates()
    time.sleep(1.0)
    moved = _taken(gateway)
    sent, seconds = count * intervals, busy.pop("seconds")
    result = {
        "offered_per_s": round(sent / seconds, 1), "seconds": round(seconds, 2), "lag_deltas": lags,
        "packets": sent, "intervals": intervals, "packets_taken": moved,
        "cores": {name: round(busy[name]["cores"] - idle[name]["cores"], 4) for name in nodes}}
    if moved == 0:
        raise LabError(f"of {sent} packets none was taken")
    if standby:
        result["link_octets_per_s"] = round(busy["active"]["bytes"] - idle["active"]["bytes"], 1)
        result["link_entries_per_s"] = round(busy["active"]["entries"] - idle["active"]["entries"], 2)
    return result


class _Span:
    """Processor time and the link's counters over a span of time."""

    def __init__(self, nodes):
        self.nodes, self.before, self.start = nodes, self._read(nodes), time.monotonic()

    def rates(self):
        seconds, after = time.monotonic() - self.start, self._read(self.nodes)
        return {"seconds": seconds, **{
            name: {key: (value - self.before[name][key]) / seconds for key, value in each.items()} for name, each in after.items()}}

    @staticmethod
    def _read(nodes):
        return {
            name: {"cores": common.processor_seconds(node.process.pid), **common.link_counters(node)} for name, node in nodes.items()}


def _sealed(gateway, count, intervals):
    """For every interval a packet of each session."""
    sealers = []
    with Vici(gateway.socket, 60) as vici:
        for number in range(count):
            answer = vici.request("tandem-get", {"name": f"generated{number}.example.net"})
            context = json.loads("".join(answer["document"]))
            child, address = context["child_sas"][0], context["leases"][0]["address"]
            key = bytes.fromhex(child["keys"]["inbound_encryption"])
            sealers.append((Sealer(int(child["inbound_spi"], 16), key), datagram(address, SERVER, PORT)))
    rounds = [[sealer.seal(packet) for sealer, packet in sealers] for _ in range(intervals)]
    for sealer, _ in sealers:
        sealer.close()
    return rounds


def _send(out, packets):
    """All of an interval's packets, spread over it."""
    start = time.monotonic()
    for index in range(0, len(packets), BURST):
        early = start + INTERVAL_S * index / len(packets) - time.monotonic()
        if early > 0:
            time.sleep(early)
        for packet in packets[index : index + BURST]:
            out.sendto(packet, (OUTER_SHARED, 0))
    rest = start + INTERVAL_S - time.monotonic()
    if rest > 0:
        time.sleep(rest)


def _taken(gateway):
    """Packets that the gateway opened, over all sessions."""
    with Vici(gateway.socket, 60) as vici:
        events = vici.stream("list-sas", "list-sa")
    return sum(int(child["packets-in"]) for event in events for sa in event.values() for child in sa["child-sas"].values())


def _derived(paired, alone):
    """Reports through the link and what one costs. Never more of them than packets: an interval's last entry may not be full."""
    count = paired["packets"] / paired["intervals"]
    full = count / math.ceil(count / IN_ENTRY)
    reports = min(paired["link_entries_per_s"] * full, paired["packets_taken"] / paired["seconds"])
    # The gateway alone opens packets as well: what the active needs beyond that, for as many of them, is for the pair.
    rates = [each["packets_taken"] / each["seconds"] for each in (paired, alone)]
    of_packets = alone["cores"]["active"] * rates[0] / rates[1]
    added = {"active": round(paired["cores"]["active"] - of_packets, 4), "standby": paired["cores"]["standby"]}
    return {
        "reports_per_s": round(reports, 1), "octets_per_report": round(paired["link_octets_per_s"] / reports, 2), "added_cores": added,
        "lag_deltas": paired["lag_deltas"], "reports_per_s_at_half_a_core": round(reports * 0.5 / max(*added.values(), 1e-6), 1)}
