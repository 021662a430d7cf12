"""A thousand sessions for as long as asked, with rekeys and takeovers: nothing may grow."""

import statistics
import time

from tandemlab.processes import LabError

from . import common

SESSIONS, QUICK_SESSIONS = 1000, 100
TAKEOVER_EVERY_S, REKEY_EVERY_S, SAMPLE_EVERY_S = 30.0, 45.0, 5.0


def measure(options):
    common.need(options, "session-generator")
    sessions = options.counts[-1] if options.counts else QUICK_SESSIONS if options.quick else SESSIONS
    samples, takeovers, rekeys = [], 0, 0
    with common.laboratory(options) as lab:
        pair, generator = common.paired(lab)
        generator.up_to(sessions)
        common.wait_held(pair, sessions)
        start = time.monotonic()
        due = {"takeover": start + TAKEOVER_EVERY_S / 2, "rekey": start + 5.0, "sample": start}
        while time.monotonic() < start + options.soak:
            now = time.monotonic()
            active, _ = pair.wait_paired()
            if now >= due["sample"]:
                samples.append({
                    "at_s": round(now - start, 1),
                    **{f"{node.name}_{key}": ask(node.process.pid) for node in pair.nodes.values()
                        for key, ask in (("kib", common.memory_kib), ("descriptors", common.descriptors))}})
                due["sample"] = now + SAMPLE_EVERY_S
            if now >= due["rekey"]:
                active.command("rekey", "road", "--child", "net")
                rekeys += sessions
                due["rekey"] = now + REKEY_EVERY_S
            if now >= due["takeover"]:
                active.command("switchover", "--force")
                takeovers += 1
                due["takeover"] = now + TAKEOVER_EVERY_S
            time.sleep(0.5)
        alive = generator.check()
    if alive != sessions:
        raise LabError(f"{alive} of {sessions} sessions answer after {takeovers} takeovers")
    third = max(1, len(samples) // 3)
    growth = {}
    for key in samples[0]:
        if key != "at_s":
            # The first third has the first rekeys and the first takeover in it; what comes later must fit in what they took.
            early = statistics.median(sample[key] for sample in samples[third : 2 * third] or samples)
            late = statistics.median(sample[key] for sample in samples[-third:])
            growth[key] = round(late / early, 3)
    return {
        "seconds": options.soak, "sessions": sessions, "alive": alive, "takeovers": takeovers, "children_rekeyed": rekeys, "growth": growth,
        "samples": samples}
