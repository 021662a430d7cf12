"""The figures: what each is, from which data it follows, and what it must reach. One that was not measured is absent."""

import statistics
from dataclasses import dataclass
from typing import Callable


@dataclass(frozen=True)
class Figure:
    key: str
    text: str
    unit: str
    part: str
    #: Of the part's data; KeyError, or None, when it is not in them.
    derive: Callable
    at_most: float | None = None
    at_least: float | None = None
    less_than: float | None = None

    @property
    def target(self):
        for sign, limit in (("≤", self.at_most), ("≥", self.at_least), ("<", self.less_than)):
            if limit is not None:
                return f"{sign} {limit:g}"
        return None

    def reached(self, value):
        """Whether the target is; None without one."""
        if self.at_most is not None:
            return value <= self.at_most
        if self.at_least is not None:
            return value >= self.at_least
        return value < self.less_than if self.less_than is not None else None


def median(values):
    return statistics.median(values) if values else None


def ratio(many, few):
    return many / few if many is not None and few else None


# MARK: From one part's data

def at(count, name):
    """GET or PUT with so many sessions."""
    return lambda data: median(data["sessions"][str(count)][name])


def flat(name):
    """The most sessions against the fewest: medians."""
    def derive(data):
        if "10000" not in data["sessions"] or "10" not in data["sessions"]:
            return None
        return ratio(median(data["sessions"]["10000"][name]), median(data["sessions"]["10"][name]))
    return derive


def one_more(side, count="1000"):
    return lambda data: median(data[side]["one_more_ms"][count])


def worst_latency(data):
    """Tandem's median over charon's, at the count where it is the largest."""
    return max(ratio(median(values), median(data["charon"]["one_more_ms"][count])) for count, values in data["tandem"]["one_more_ms"].items())


def worst_rate(data):
    """Tandem's sessions per second over charon's, at the count where they are the fewest."""
    found = [ratio(median(values), median(data["charon"]["per_second"][count])) for count, values in data["tandem"]["per_second"].items()]
    return min(found) if found else None


def takeover(count, key="total_ms"):
    return lambda data: median([each[key] for each in data[str(count)]["takeovers"]])


def rejoined(count):
    return lambda data: median([each["rejoined_ms"] for each in data[str(count)]["takeovers"] if each["rejoined_ms"] is not None])


def blackout(side, kind):
    return lambda data: median(data[side][kind]["blackout_ms"])


def over_libipsec(data):
    """The worse direction of one TCP stream."""
    return min(ratio(median(data["user"][name]), median(data["libipsec"][name])) for name in ("tcp_up_mbit", "tcp_down_mbit"))


def growth(data):
    return max(data["growth"].values())


FIGURES = (
    Figure("get_ms", "GET in the daemon, 1,000 sessions", "ms", "contexts", at(1000, "get_ms"), at_most=0.1),
    Figure("put_ms", "PUT in the daemon, 1,000 sessions", "ms", "contexts", at(1000, "put_ms"), at_most=0.2),
    Figure("get_cli_ms", "GET by the command line, 1,000 sessions", "ms", "contexts", at(1000, "get_cli_ms"), at_most=5),
    Figure("put_cli_ms", "PUT by the command line, 1,000 sessions", "ms", "contexts", at(1000, "put_cli_ms"), at_most=5),
    Figure("get_10k_over_10", "GET in the daemon, with 10,000 sessions over with 10", "times", "contexts", flat("get_ms")),
    Figure("put_10k_over_10", "PUT in the daemon, with 10,000 sessions over with 10", "times", "contexts", flat("put_ms")),
    Figure("put_over_floor", "PUT with XFRM over the bare netlink calls", "times", "kernel", lambda data: data["put_over_floor"], at_most=1.5),
    Figure("put_xfrm_ms", "PUT in the daemon with XFRM, most sessions", "ms", "kernel", lambda data: most(data["contexts"]["sessions"], "put_ms")),
    Figure("establish_ms", "establishment of one more with 1,000", "ms", "establishment", one_more("tandem")),
    Figure("charon_establish_ms", "the same with charon", "ms", "establishment", one_more("charon")),
    Figure("establish_latency_over_charon", "latency over charon's, at the worst count", "times", "establishment", worst_latency, less_than=1),
    Figure(
        "establish_over_charon", "sessions a second over charon's, at the worst count", "times", "establishment", worst_rate, at_least=1),
    Figure(
        "memory_per_session_kib", "memory per idle session, alone", "KiB", "establishment",
        lambda data: median(data["tandem"]["memory_per_session_kib"]), at_most=10),
    Figure(
        "charon_memory_per_session_kib", "the same with charon", "KiB", "establishment",
        lambda data: median(data["charon"]["memory_per_session_kib"])),
    Figure("list_ms", "all sessions listed by swanctl", "ms", "establishment", lambda data: median(data["tandem"]["list_ms"]["command"])),
    Figure("charon_list_ms", "the same with charon", "ms", "establishment", lambda data: median(data["charon"]["list_ms"]["command"])),
    Figure("takeover_10_ms", "takeover after detection, 10 sessions", "ms", "takeover", takeover(10), at_most=10),
    Figure("takeover_1k_ms", "takeover after detection, 1,000 sessions", "ms", "takeover", takeover(1000), at_most=10),
    Figure("takeover_100k_ms", "takeover after detection, 100,000 sessions", "ms", "takeover", takeover(100_000), at_most=10),
    Figure(
        "memory_active_kib", "memory per idle session, active of a pair", "KiB", "replication",
        lambda data: data["memory_per_session_kib"]["active"], at_most=10),
    Figure(
        "memory_standby_kib", "memory per idle session, standby", "KiB", "replication",
        lambda data: data["memory_per_session_kib"]["standby"], at_most=10),
    Figure(
        "octets_per_establishment", "octets on the link per establishment", "octets", "replication",
        lambda data: data["octets_per_establishment"], at_most=1536),
    Figure("octets_per_rekey", "octets on the link per CHILD SA rekeyed", "octets", "replication", lambda data: data["octets_per_rekey"]),
    Figure("commit_added_ms", "output commit's added latency", "ms", "replication",
        lambda data: median(data["paired_ms"]) - median(data["alone_ms"]), less_than=1),
    Figure("paired_establish_per_s", "sessions a second with a pair", "1/s", "replication", lambda data: data["establish_per_second"]),
    Figure(
        "counter_reports_per_s", "counter reports a second through the link under half a core on each side", "1/s", "counters",
        lambda data: data["reports_per_s_at_half_a_core"], at_least=50_000),
    Figure("counter_reports_seen_per_s", "counter reports a second that came through", "1/s", "counters", lambda data: data["reports_per_s"]),
    Figure("octets_per_counter_report", "octets on the link per counter report", "octets", "counters",
        lambda data: data["octets_per_report"], at_most=40),
    Figure("counter_lag_deltas", "deltas not yet acknowledged under that load", "", "counters", lambda data: median(data["lag_deltas"])),
    Figure("snapshot_100k_ms", "a killed node, started again, holds 100,000 sessions", "ms", "takeover", rejoined(100_000), at_most=3000),
    Figure("throughput_over_libipsec", "one TCP stream over kernel-libipsec's, worse direction", "times", "throughput", over_libipsec, at_least=2),
    Figure("throughput_mbit", "one TCP stream towards the server", "Mbit/s", "throughput", lambda data: median(data["user"]["tcp_up_mbit"])),
    Figure("esp_over_openssl", "seal and open of a 1,400 octet packet over OpenSSL's cipher alone", "times", "hotpaths",
        lambda data: (data["esp_seal_1400"]["ns"] + data["esp_open_1400"]["ns"]) / (2 * data["openssl"]["1400"])),
    Figure("blackout_kill_ms", "blackout of SIGKILL", "ms", "blackouts", blackout("tandem", "kill")),
    Figure("blackout_cut_ms", "blackout of cut links", "ms", "blackouts", blackout("tandem", "cut")),
    Figure("blackout_switchover_ms", "blackout of a planned switchover", "ms", "blackouts", blackout("tandem", "switchover")),
    Figure("blackout_ha_kill_ms", "blackout of SIGKILL, strongSwan's ha plugin", "ms", "blackouts", blackout("ha_plugin", "kill")),
    Figure("blackout_ha_cut_ms", "blackout of cut links, strongSwan's ha plugin", "ms", "blackouts", blackout("ha_plugin", "cut")),
    Figure("blackout_ha_switchover_ms", "blackout of a planned switchover, strongSwan's ha plugin", "ms", "blackouts",
        blackout("ha_plugin", "switchover")),
    Figure("blackout_cold_kill_ms", "blackout of SIGKILL, cold standby", "ms", "blackouts", blackout("cold_standby", "kill")),
    Figure("soak_growth", "memory and descriptors, last third over middle third", "times", "soak", growth, at_most=1.05),
)


def most(sessions, name):
    return median(sessions[max(sessions, key=int)][name])


def derive(kept):
    """Of what is kept, every figure that follows from it: (figure, value, whether it is of a quick run)."""
    found = []
    for figure in FIGURES:
        if figure.part not in kept:
            continue
        try:
            value = figure.derive(kept[figure.part]["data"])
        except KeyError:
            continue  # a count or a side that this run did not measure
        if value is not None:
            found.append((figure, rounded(value), kept[figure.part]["quick"]))
    return found


def rounded(value):
    """Three digits that mean something."""
    return float(f"{value:.3g}") if abs(value) < 1000 else round(value)


def result(found, kept, failed):
    """What result.json and Docs/benchmarks.json hold: the plain figures, then each with its target."""
    return {
        **{figure.key: value for figure, value, _ in found},
        "figures": [{
            "key": figure.key, "text": figure.text, "unit": figure.unit, "part": figure.part, "value": value, "quick": quick,
            **({"target": figure.target, "reached": figure.reached(value)} if figure.target else {})} for figure, value, quick in found],
        "targets_missed": [figure.key for figure, value, _ in found if figure.reached(value) is False],
        "not_measured": [figure.key for figure in FIGURES if figure.key not in {each.key for each, _, _ in found}],
        "parts": {part: {key: each[key] for key in ("quick", "seconds", "machine")} for part, each in kept.items()},
        "failed_parts": failed}


def show(result):
    """The figures as a table for a terminal."""
    for each in result["figures"]:
        mark = {True: "reached", False: "MISSED", None: ""}[each.get("reached")]
        print(f"  {each['text']:<80}{each['value']:>12g} {each['unit']:<7} {each.get('target', ''):>10} {mark}{' (quick)' if each['quick'] else ''}")
    if result["not_measured"]:
        print(f"  not measured: {', '.join(result['not_measured'])}")


def check_recordable(kept, parts):
    """Raises SystemExit when what is kept is no full run of every part."""
    missing = [part for part in parts if part not in kept]
    quick = [part for part, each in kept.items() if each["quick"]]
    if missing or quick:
        raise SystemExit(
            f"not recorded: missing {', '.join(missing) or 'nothing'}; only quick: {', '.join(quick) or 'nothing'}. "
            "Measure these in full (`--only`), then `--render --record`")
