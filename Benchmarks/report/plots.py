"""Which plots there are, each from one part's data."""

from .boxes import Plot

#: The paper's ranges, in milliseconds: its figures 3, 4a and 4b.
PAPER_ESTABLISHMENT, PAPER_GET, PAPER_PUT = (310, 1000), (5, 15), (2, 22)
ESTABLISHED = "sessions established"


def of(kept):
    """Every plot for which there are data, in the order of the page."""
    found = []
    for part, make in MAKERS.items():
        if part in kept:
            made = make(kept[part]["data"])
            for plot in made:
                plot.series = {name: {g: s for g, s in groups.items() if s} for name, groups in plot.series.items()}
                plot.series = {name: groups for name, groups in plot.series.items() if groups}
                plot.note += f" {_when(kept[part])}"
            found += [plot for plot in made if plot.series]
    return found


def _when(each):
    facts = each["machine"]
    kind = "a quick run, with few samples" if each["quick"] else "a full run"
    return f"Measured {facts['date']} in {kind} on {facts['cores']} cores; load before it {facts['load_before']}."


def _establishment(data):
    both = {"tandem": "tandemd", "charon": "charon 5.9.8"}
    return [
        Plot(
            "establishment", "One more session with N established", "ms", ESTABLISHED,
            {label: data[side]["one_more_ms"] for side, label in both.items()},
            [("the paper's figure 3: 0.31 to 1 s", *PAPER_ESTABLISHMENT)],
            note="One after the other, as in the paper; the two responders take turns under the same initiator's load."),
        Plot(
            "rate", "Sessions set up a second, eight at a time", "1/s", ESTABLISHED,
            {label: data[side]["per_second"] for side, label in both.items()}, note="While as many as the axis says were reached."),
        Plot(
            "memory", "Memory for one idle session", "KiB", "", {
                label: {"one responder, no pair": data[side]["memory_per_session_kib"]} for side, label in both.items()},
            limits=[("target: 10 KiB", 10)], note="Growth of the process's proportional set size over the number of sessions."),
        Plot(
            "listing", f"Listing all sessions ({data['tandem']['sessions']:,})", "ms", "", {
                label: {
                    "swanctl --list-sas": data[side]["list_ms"].get("command", []), "the socket alone": data[side]["list_ms"].get("socket", [])}
                for side, label in both.items()}, note="The same command, and the same reader of the socket, for both."),
    ]


def _contexts(data):
    sessions, out = data["sessions"], []
    for verb, figure, band, target in (("get", "4a: 5 to 15 ms", PAPER_GET, 0.1), ("put", "4b: 2 to 22 ms", PAPER_PUT, 0.2)):
        out.append(Plot(
            verb, f"{verb.upper()} of one session among N", "ms", ESTABLISHED, {
                "by the command line": {count: each[f"{verb}_cli_ms"] for count, each in sessions.items()},
                "in the daemon": {count: each[f"{verb}_ms"] for count, each in sessions.items()}},
            [(f"the paper's figure {figure}", *band)], [(f"target in the daemon: {target} ms", target)],
            "Ten random sessions a round; the command's time has the start of a process in it."))
    return out


def _takeover(data):
    kinds, steps = ("kill", "switchover"), next(iter(data.values()))["takeovers"][0]["steps_ms"]
    return [Plot(
        "takeover", "Takeover: the new active's work after detection", "ms", "sessions", {
            kind: {count: [take["total_ms"] for take in each["takeovers"] if take["kind"] == kind] for count, each in data.items()}
            for kind in kinds}, limits=[("target: 10 ms", 10)], note="From the decision to IKE being answered; the daemon's own clock."),
        Plot(
            "takeover-steps", "The steps of a takeover", "ms", "step", {
                f"{count} sessions": {step: [max(take["steps_ms"][step], 0.001) for take in each["takeovers"]] for step in steps}
                for count, each in data.items()}, note="A step of less than a microsecond is drawn as one."),
        Plot(
            "rejoin", "A killed node, started again, is in step", "ms", "sessions", {
                label: {count: [take[key] for take in each["takeovers"] if take[key]] for count, each in data.items()}
                for label, key in (("from its start", "rejoined_ms"), ("the snapshot", "snapshot_ms"))},
            limits=[("target for a snapshot of 100,000: 3 s", 3000)] if "100000" in data else [],
            note="It starts, finds its peer, which records its leases, and gets a snapshot.")]


def _replication(data):
    return [Plot(
        "commit", "Establishment with a pair and without one: output commit", "ms", "", {
            "one after the other": {"with a pair": data["paired_ms"], "alone": data["alone_ms"]}},
        note="The two gateways take turns; no delay on the link. The difference of the medians is what output commit adds."),
        Plot(
            "lag", "Deltas not yet acknowledged", "deltas", "", {
                "standby's lag": {f"at {data['establish_per_second']:.0f} establishments a second": data["lag_deltas"]}},
            note="Asked of the active every 20 ms while the sessions are set up eight at a time.")]


def _counters(data):
    return [Plot(
        "counter-lag", "Deltas not yet acknowledged under counter reports", "deltas", "", {
            "standby's lag": {f"at {data['reports_per_s']:.0f} reports a second": data["lag_deltas"]}})]


def _throughput(data):
    labels = {"user": "Tandem's user data plane", "libipsec": "charon with kernel-libipsec"}
    return [
        Plot("throughput", "One TCP stream through the tunnel", "Mbit/s", "", {
            label: {"to the server": data[side]["tcp_up_mbit"], "to the client": data[side]["tcp_down_mbit"]}
            for side, label in labels.items()},
            note="The same program at both ends of the tunnel, so that each side's own cost counts twice."),
        Plot("small", "Datagrams of 100 octets that arrive", "1,000 packets/s", "", {
            label: {"to the server": data[side]["small_up_kpps"]} for side, label in labels.items()})]


def _downloads(data):
    times, series = data["table"], {}
    for pause in dict.fromkeys(row["pause_s"] for row in times):
        groups = series[f"pause of {pause} s"] = {}
        for row in times:
            if row["pause_s"] == pause:
                groups.setdefault(f"{row['rate'] / 1e3:g} kB/s", []).append(row["seconds"])
    return [Plot(
        "downloads", "A download over GET, a pause and PUT", "s", "rate", series,
        note="Every download arrived whole and in one TCP connection, or the part failed.")]


def _blackouts(data):
    labels = {"tandem": "Tandem's pair", "ha_plugin": "strongSwan's ha plugin", "cold_standby": "cold standby"}
    series = {label: {kind: each["blackout_ms"] for kind, each in data[side].items()} for side, label in labels.items() if side in data}
    series["ha plugin, to the server alone"] = {kind: each["client_to_server_ms"] for kind, each in data.get("ha_plugin", {}).items()}
    return [Plot(
        "blackouts", "What the client misses", "ms", "", series,
        note="The longest gap in the worse direction between packets that arrived, 100 a second, less their interval. The plugin's standby counts "
        "its ESP numbers from 1: the client drops what comes from it until it has been counted as long as before.")]


def _kernel(data):
    return [
        Plot("kernel-put", "GET and PUT with XFRM in User-Mode Linux", "ms", ESTABLISHED, {
            f"{verb.upper()} in the daemon": {count: each[f"{verb}_ms"] for count, each in data["contexts"]["sessions"].items()}
            for verb in ("get", "put")}, note="One slow processor carries every host: compare only within this plot."),
        Plot("kernel-establishment", "One more session with XFRM in User-Mode Linux", "ms", ESTABLISHED, {
            label: data["establishment"][side]["one_more_ms"] for side, label in (("tandem", "tandemd"), ("charon", "charon 5.9.8"))},
            note="kernel-netlink at the charon. One slow processor carries every host: compare only within this plot."),
        Plot("kernel-takeover", "Takeover with XFRM in User-Mode Linux", "ms", "sessions", {
            kind: {
                count: [take["total_ms"] for take in each["takeovers"] if take["kind"] == kind] for count, each in data["takeover"].items()}
            for kind in ("kill", "switchover")}, note="One slow processor carries every host: compare only within this plot.")]


def _hotpaths(data):
    paths = {name: each["samples_ns"] for name, each in data.items() if isinstance(each, dict) and each.get("samples_ns")}
    return [Plot("hotpaths", "Processor time of what is done for every packet, message and report", "ns", "", {"hot paths": paths})]


def _soak(data):
    nodes = {key.rsplit("_", 1)[0] for key in data["samples"][0] if key.endswith("_kib")}
    third = max(1, len(data["samples"]) // 3)
    parts = (("first third", 0), ("second third", third), ("last third", 2 * third))
    return [Plot("soak", f"Memory over {data['seconds']:.0f} s with takeovers and rekeys", "MiB", "", {
        node: {name: [sample[f"{node}_kib"] / 1024 for sample in data["samples"][start : start + third]] for name, start in parts}
        for node in sorted(nodes)})]


MAKERS = {
    "establishment": _establishment, "contexts": _contexts, "downloads": _downloads, "blackouts": _blackouts, "takeover": _takeover,
    "replication": _replication, "counters": _counters, "throughput": _throughput, "kernel": _kernel,
    "hotpaths": _hotpaths, "soak": _soak}
