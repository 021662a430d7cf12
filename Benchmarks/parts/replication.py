"""What the pair costs: octets and entries of an establishment and of a rekey, the time that output commit adds, lag and memory."""

import threading
import time

from tandemlab.processes import LabError

from . import common

#: Establishments one after the other, in turn with a pair and without one.
ROUNDS, IN_A_ROUND = 10, 20
COUNT, QUICK_COUNT = 2000, 200
SETTLE_SECONDS = 120


def measure(options):
    common.need(options, "session-generator")
    rounds = 3 if options.quick else ROUNDS
    count = options.counts[-1] if options.counts else QUICK_COUNT if options.quick else COUNT
    with common.laboratory(options) as lab, common.laboratory(options) as other:
        pair, generator = common.paired(lab)
        single, lonely = common.alone(other)
        active, standby = pair.wait_paired()
        empty = {name: common.memory_kib(gateway.process.pid) for name, gateway in (("active", active), ("standby", standby))}
        out = {"paired_ms": [], "alone_ms": []}
        for _ in range(rounds):
            out["paired_ms"] += generator.sequence(IN_A_ROUND)
            out["alone_ms"] += lonely.sequence(IN_A_ROUND)
        before = common.link_counters(active)
        used = [common.processor_seconds(gateway.process.pid) for gateway in (active, standby)]
        lags, stop = [], threading.Event()
        watcher = threading.Thread(target=_watch, args=(active, lags, stop))
        watcher.start()
        out["establish_ms"] = generator.add(count)
        stop.set()
        watcher.join()
        after, total = common.link_counters(active), generator.count
        common.wait_held(pair, total)
        spent = [common.processor_seconds(gateway.process.pid) - start for gateway, start in zip((active, standby), used)]
        start = common.processor_seconds(single.process.pid)
        lonely.add(count)
        spent.append(common.processor_seconds(single.process.pid) - start)
        out.update(
            count=count, lag_deltas=lags,
            octets_per_establishment=round((after["bytes"] - before["bytes"]) / count, 1),
            entries_per_establishment=round((after["entries"] - before["entries"]) / count, 2),
            establish_per_second=round(count / out["establish_ms"] * 1000, 1),
            processor_ms={
                name: round(seconds / count * 1000, 3) for name, seconds in zip(("active", "standby", "without_pair"), spent)})
        out["memory_per_session_kib"] = {
            name: round((common.memory_kib(gateway.process.pid) - empty[name]) / total, 2)
            for name, gateway in (("active", active), ("standby", standby))}
        # A rekey of every CHILD SA by the operator, a page at a time; the generator follows no IKE SA to a new one.
        before = common.link_counters(active)
        active.command("rekey", "road", "--child", "net")
        done = _settled(active)
        out["octets_per_rekey"] = round((done["bytes"] - before["bytes"]) / total, 1)
        out["alive"] = generator.check()
        out["sessions"] = total
    return out


def _watch(gateway, lags, stop):
    while not stop.is_set():
        state = gateway.status()
        if state:
            lags.append(int(state["lag_deltas"]))
        time.sleep(0.02)


def _settled(gateway):
    """The counters once they grow no more than an idle pair's."""
    last, deadline = common.link_counters(gateway), time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        time.sleep(2.0)
        now = common.link_counters(gateway)
        if now["entries"] - last["entries"] < 20:
            return now
        last = now
    raise LabError(f"{gateway.name} still sends {SETTLE_SECONDS} s after the rekeys were asked for")
