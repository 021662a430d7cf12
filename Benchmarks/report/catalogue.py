"""Every figure: what it is, from which data it follows, and what it must reach."""

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
    more_than: float | None = None

    @property
    def target(self):
        for sign, limit in (("≤", self.at_most), ("≥", self.at_least), ("<", self.less_than), (">", self.more_than)):
            if limit is not None:
                return f"{sign} {limit:g}"
        return None

    def reached(self, value):
        """Whether the target is; None without one."""
        if self.at_most is not None:
            return value <= self.at_most
        if self.at_least is not None:
            return value >= self.at_least
        if self.more_than is not None:
            return value > self.more_than
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
    charon = data["charon"]["one_more_ms"]
    return max(ratio(median(values), median(charon[count])) for count, values in data["tandem"]["one_more_ms"].items())


def worst_rate(data):
    """Tandem's sessions per second over charon's, at the count where they are the fewest."""
    charon = data["charon"]["per_second"]
    found = [ratio(median(values), median(charon[count])) for count, values in data["tandem"]["per_second"].items() if values]
    return min(found) if found else None


def takeover(count, key="total_ms"):
    return lambda data: median([each[key] for each in data[str(count)]["takeovers"]])


def after_kill(count, key):
    return lambda data: median([each[key] for each in data[str(count)]["takeovers"] if each[key] is not None])


def blackout(side, kind):
    return lambda data: median(data[side][kind]["blackout_ms"])


def over_libipsec(data):
    """The worse direction of one TCP stream."""
    return min(ratio(median(data["user"][name]), median(data["libipsec"][name])) for name in ("tcp_up_mbit", "tcp_down_mbit"))


def growth(data):
    return max(data["growth"].values())


def most(sessions, name):
    return median(sessions[max(sessions, key=int)][name])


#: What counts as flat over a thousand times as many sessions: medians of a busy machine are so far apart by chance.
FLAT = 1.5

FIGURES = (
    Figure("get_ms", "GET in the daemon, 1,000 sessions", "ms", "contexts", at(1000, "get_ms"), at_most=0.1),
    Figure("put_ms", "PUT in the daemon, 1,000 sessions", "ms", "contexts", at(1000, "put_ms"), at_most=0.2),
    Figure("get_slept_ms", "GET in a daemon that had slept, 1,000 sessions", "ms", "contexts", at(1000, "get_slept_ms")),
    Figure("put_slept_ms", "PUT in a daemon that had slept, 1,000 sessions", "ms", "contexts", at(1000, "put_slept_ms")),
    Figure("get_cli_ms", "GET by the command line, 1,000 sessions", "ms", "contexts", at(1000, "get_cli_ms"), at_most=5),
    Figure("put_cli_ms", "PUT by the command line, 1,000 sessions", "ms", "contexts", at(1000, "put_cli_ms"), at_most=5),
    Figure("get_10k_over_10", "GET in the daemon, with 10,000 sessions over with 10", "times", "contexts", flat("get_ms"), at_most=FLAT),
    Figure("put_10k_over_10", "PUT in the daemon, with 10,000 sessions over with 10", "times", "contexts", flat("put_ms"), at_most=FLAT),
    Figure(
        "put_over_floor", "PUT with XFRM over the bare netlink calls", "times", "kernel",
        lambda data: data["put_over_floor"], at_most=1.5),
    Figure(
        "put_xfrm_ms", "PUT in the daemon with XFRM, most sessions", "ms", "kernel",
        lambda data: most(data["contexts"]["sessions"], "put_ms")),
    Figure("establish_ms", "establishment of one more with 1,000", "ms", "establishment", one_more("tandem")),
    Figure("charon_establish_ms", "establishment of one more with 1,000, charon", "ms", "establishment", one_more("charon")),
    Figure(
        "establish_latency_over_charon", "establishment of one more: latency over charon's, at the worst count", "times",
        "establishment", worst_latency, less_than=1),
    Figure(
        "establish_over_charon", "establishment: sessions a second over charon's, at the worst count", "times", "establishment", worst_rate, more_than=1),
    Figure(
        "memory_per_session_kib", "memory per idle session, alone", "KiB", "establishment",
        lambda data: median(data["tandem"]["memory_per_session_kib"]), at_most=10),
    Figure(
        "charon_memory_per_session_kib", "memory per idle session, charon", "KiB", "establishment",
        lambda data: median(data["charon"]["memory_per_session_kib"])),
    Figure(
        "list_ms", "all sessions listed by swanctl", "ms", "establishment",
        lambda data: median(data["tandem"]["list_ms"]["command"])),
    Figure(
        "charon_list_ms", "all sessions listed by swanctl, charon", "ms", "establishment",
        lambda data: median(data["charon"]["list_ms"]["command"])),
    Figure("takeover_10_ms", "takeover after detection, 10 sessions", "ms", "takeover", takeover(10), at_most=10),
    Figure("takeover_1k_ms", "takeover after detection, 1,000 sessions", "ms", "takeover", takeover(1000), at_most=10),
    Figure("takeover_100k_ms", "takeover after detection, 100,000 sessions", "ms", "takeover", takeover(100_000), at_most=10),
    Figure(
        "takeovers_not_asked_for", "takeovers by late heartbeats, over all counts", "", "takeover",
        lambda data: sum(each["takeovers_not_asked_for"] for each in data.values())),
    Figure(
        "memory_active_kib", "memory per idle session, active of a pair", "KiB", "replication",
        lambda data: data["memory_per_session_kib"]["active"], at_most=10),
    Figure(
        "memory_standby_kib", "memory per idle session, standby", "KiB", "replication",
        lambda data: data["memory_per_session_kib"]["standby"], at_most=10),
    Figure(
        "octets_per_establishment", "octets on the link per establishment", "octets", "replication",
        lambda data: data["octets_per_establishment"], at_most=1536),
    Figure(
        "octets_per_rekey", "octets on the link per CHILD SA rekeyed", "octets", "replication",
        lambda data: data["octets_per_rekey"]),
    Figure(
        "commit_added_ms", "output commit's added latency", "ms", "replication",
        lambda data: median(data["paired_ms"]) - median(data["alone_ms"]), less_than=1),
    Figure(
        "active_processor_over_alone", "the active's processor time per establishment over a gateway's alone", "times", "replication",
        lambda data: ratio(data["processor_ms"]["active"], data["processor_ms"]["without_pair"])),
    Figure(
        "paired_establish_per_s", "sessions a second with a pair", "1/s", "replication",
        lambda data: data["establish_per_second"]),
    Figure(
        "counter_reports_per_s", "counter reports a second through the link under half a core on each side", "1/s", "counters",
        lambda data: data["reports_per_s_at_half_a_core"], at_least=50_000),
    Figure(
        "counter_reports_seen_per_s", "counter reports a second that came through", "1/s", "counters",
        lambda data: data["reports_per_s"]),
    Figure(
        "octets_per_counter_report", "octets on the link per counter report", "octets", "counters",
        lambda data: data["octets_per_report"], at_most=40),
    Figure(
        "counter_lag_deltas", "deltas not yet acknowledged under that load", "", "counters",
        lambda data: median(data["lag_deltas"])),
    Figure(
        "snapshot_100k_ms", "snapshot of 100,000 sessions, from its beginning until the standby holds all",
        "ms", "takeover", after_kill(100_000, "snapshot_ms"), at_most=3000),
    Figure(
        "rejoined_100k_ms", "a killed node, started again, holds 100,000 sessions",
        "ms", "takeover", after_kill(100_000, "rejoined_ms")),
    Figure(
        "throughput_over_libipsec", "one TCP stream over kernel-libipsec's, worse direction", "times",
        "throughput", over_libipsec, at_least=2),
    Figure(
        "throughput_mbit", "one TCP stream towards the server", "Mbit/s", "throughput",
        lambda data: median(data["user"]["tcp_up_mbit"])),
    Figure(
        "openssl_mbit", "OpenSSL's own speed for the cipher on one core: the floor", "Mbit/s", "throughput",
        lambda data: data["openssl_mbit"]),
    Figure(
        "esp_over_openssl", "seal and open of a 1,400 octet packet over OpenSSL's cipher alone", "times", "hotpaths",
        lambda data: (data["esp_seal_1400"]["ns"] + data["esp_open_1400"]["ns"]) / (2 * data["openssl"]["1400"])),
    Figure("blackout_kill_ms", "blackout of SIGKILL", "ms", "blackouts", blackout("tandem", "kill")),
    Figure("blackout_cut_ms", "blackout of cut links", "ms", "blackouts", blackout("tandem", "cut")),
    Figure("blackout_switchover_ms", "blackout of a planned switchover", "ms", "blackouts", blackout("tandem", "switchover")),
    Figure(
        "blackout_ha_kill_ms", "blackout of SIGKILL, strongSwan's ha plugin", "ms",
        "blackouts", blackout("ha_plugin", "kill")),
    Figure(
        "blackout_ha_cut_ms", "blackout of cut links, strongSwan's ha plugin", "ms",
        "blackouts", blackout("ha_plugin", "cut")),
    Figure(
        "blackout_ha_switchover_ms", "blackout of a planned switchover, strongSwan's ha plugin", "ms", "blackouts",
        blackout("ha_plugin", "switchover")),
    Figure("blackout_cold_kill_ms", "blackout of SIGKILL, cold standby", "ms", "blackouts", blackout("cold_standby", "kill")),
    Figure("blackout_cold_cut_ms", "blackout of cut links, cold standby", "ms", "blackouts", blackout("cold_standby", "cut")),
    Figure(
        "blackout_cold_switchover_ms", "blackout of a planned switchover, cold standby", "ms", "blackouts",
        blackout("cold_standby", "switchover")),
    Figure("soak_growth", "memory and descriptors, last third over middle third", "times", "soak", growth, at_most=1.05),
)
