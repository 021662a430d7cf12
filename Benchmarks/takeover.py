#!/usr/bin/env python3
"""A takeover takes as long with a thousand sessions as with ten.

    python3 Benchmarks/takeover.py --build .build/release --out .build/bench

For each count a pair of its own in the host lab, its sessions set up by `session-generator`. Then takeovers of both kinds, kill and
switchover, in turn on every pair, so that what else the machine does falls on all counts alike. The times are the new
active's own, from `tandem status --json`. Afterwards every session must be on both nodes and must answer on the wire.
"""

import argparse
import contextlib
import itertools
import json
import os
import re
import secrets
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "Lab"))

from demo import guarded  # noqa: E402 found by the line above
from tandemlab.checks import Checks  # noqa: E402
from tandemlab.gateway import Pair  # noqa: E402
from tandemlab.laboratory import Laboratory, Settings  # noqa: E402
from tandemlab.namespaces import CLIENT, OUTER_SHARED  # noqa: E402
from tandemlab.processes import LabError, Process, wait_until  # noqa: E402

COUNTS = (10, 1000)
#: Takeovers of each kind on each pair.
REPEATS = 8
#: In blocks of four, each node is once the dead one and once the one that hands over.
KINDS = ("kill", "switchover", "switchover", "kill")
STEPS = ("owned", "armed", "gate_opened", "addresses_claimed", "announced", "ike_live")

#: Work that grows with the sessions would show as up to 100 times with 100 times the sessions. Medians of so few takeovers, on two
#: cores that a dozen processes share, are up to twice apart by chance.
RATIO_MAX = 3.0
#: A tenth of the heartbeat interval: less cannot be seen in any client's blackout, whatever the ratio.
APART_MS_MAX = 5.0

#: Sessions of all counts together are set up at several hundred a second.
ESTABLISH_SECONDS_MAX = 60
#: A retransmission of the generator comes after 4 s; sessions may need one each when a switch still learns.
ALIVE_SECONDS_MAX = 30
#: Between the end of one takeover and the next: a heartbeat interval and a few, so that the leases of the last one are done.
REST_SECONDS = 0.25
#: What the runtime counts when a step was not carried out.
STEP_FAILURES = ("runtime_dataplane_failures", "runtime_address_failures", "runtime_announcement_failures")

SECRET_SECTION = """
[secrets.generated]
ids = ["gw.example.net", "%any"]
file = "generated.psk"
"""


class Series:
    """A pair with a number of sessions, and what its takeovers took."""

    def __init__(self, lab, count, stack):
        self.lab, self.count, self.stack = lab, count, stack
        self.takeovers, self.problems = [], []
        self.establish_ms = self.alive = self.generator = None

    def establish(self):
        """Pair up, sessions set up, all of them on the standby."""
        self.lab.pair = pair = Pair(self.lab.network, self.lab.directory, self.lab.settings.build, self.lab.settings.dataplane)
        self.stack.callback(pair.stop)
        secret = secrets.token_hex(16)
        for gateway in pair.nodes.values():
            gateway.write("generated.psk", secret + "\n", mode=0o600)
            gateway.configuration += SECRET_SECTION
            gateway.write("tandem.toml", gateway.configuration)
        pair.start()
        pair.wait_paired()
        program = os.path.join(self.lab.settings.build, "session-generator")
        self.generator = Process(
            "session-generator",
            [
                program, "--local", CLIENT, "--remote", OUTER_SHARED, "--count", self.count, "--secret", secret,
                "--gateway", "gw.example.net"],
            network=self.lab.network.name("client"))
        self.stack.callback(self.generator.end)
        done, self.establish_ms = self._answer("established", ESTABLISH_SECONDS_MAX)
        if done != self.count:
            raise LabError(f"{done} of {self.count} sessions were established\n{self.generator.tail()}")
        self._wait_holding()

    def takeover(self, kind):
        """One takeover, and the way back to a pair that is paired."""
        old, new = self.lab.pair.wait_paired()
        time.sleep(REST_SECONDS)
        epoch = int(new.status()["epoch"])
        if kind == "kill":
            old.kill()
        else:
            old.command("switchover")
        self.lab.pair.wait_active(new, epoch)
        taken = wait_until(f"{new.name} has gone through every step", lambda: self._taken(new), timeout=5.0)
        rejoin = time.monotonic()
        if kind == "kill":
            old.start()
        self._wait_holding()
        self.takeovers.append({
            "kind": kind, "node": new.name, "cause": taken["cause"], "epoch": int(taken["epoch"]), "total_ms": float(taken["total_ms"]),
            "steps_ms": {step["name"]: float(step["took_ms"]) for step in taken["steps"]},
            "rejoined_ms": round((time.monotonic() - rejoin) * 1000) if kind == "kill" else None})

    def check_alive(self):
        """Asks the gateway on every session; the generator says how many were answered."""
        if not self.generator.alive:
            self.problems.append(f"the generator ended with {self.generator.exit_code}")
            return
        self.generator.tell("check")
        self.alive, _ = self._answer("alive", ALIVE_SECONDS_MAX)

    def _taken(self, gateway):
        """The last takeover as the operator's command tells it, once all its steps are in."""
        status = json.loads(gateway.command("status", "--json").stdout)
        taken = status.get("last_takeover") or {}
        if [step["name"] for step in taken.get("steps", [])] != list(STEPS):
            return None
        failed = {name: status["counters"][name] for name in STEP_FAILURES if int(status["counters"].get(name, 0))}
        if failed:
            self.problems.append(f"{gateway.name} in epoch {taken['epoch']}: {failed}")
        return taken

    def _wait_holding(self):
        """Every session is owned by the active and held by the standby, with its CHILD SA."""
        active, standby = self.lab.pair.wait_paired()
        seen = []

        def all_there():
            owner, holder = active.status() or {}, standby.status() or {}
            seen[:] = [int(owner.get(key, 0)) for key in ("sessions_owned", "children_owned")]
            seen.extend(int(holder.get(key, 0)) for key in ("sessions_held", "children_held"))
            return seen == [self.count] * 4

        try:
            wait_until("sessions on both nodes", all_there, timeout=10.0, every=0.02)
        except LabError:
            raise LabError(
                f"of {self.count} sessions the active owns {seen[0]} ({seen[1]} CHILD SAs), the standby holds {seen[2]} ({seen[3]})"
            ) from None

    def _answer(self, word, timeout):
        _, line = self.generator.wait_for(rf"^{word} \d+ of", timeout)
        done, milliseconds = re.match(rf"{word} (\d+) of \d+ in (\d+) ms", line).groups()
        return int(done), int(milliseconds)


def measure(build, counts=COUNTS, repeats=REPEATS, dataplane="auto", keep=False):
    """Runs it and returns what result.json holds. Raises LabError when a session is lost or a takeover does not come about."""
    build = os.path.abspath(build)
    if not os.access(os.path.join(build, "session-generator"), os.X_OK):
        raise LabError(f"there is no session-generator in {build}: build it first, or name the folder with --build")
    with contextlib.ExitStack() as stack:
        settings = Settings(build, dataplane=dataplane, keep=keep)
        every = [Series(stack.enter_context(Laboratory(settings)), count, stack) for count in counts]
        for series in every:
            series.establish()
        for kind in itertools.islice(itertools.cycle(KINDS), 2 * repeats):
            for series in every:
                series.takeover(kind)
        for series in every:
            series.check_alive()
        return _result(every)


def _result(every):
    sessions = {str(series.count): _summary(series) for series in every}
    few, many = (sessions[str(count)] for count in (min(s.count for s in every), max(s.count for s in every)))
    ratios = {kind: _ratio(many[kind]["total_ms"], few[kind]["total_ms"]) for kind in ("all", "kill", "switchover")}
    return {
        "sessions": sessions, "ratio_total": ratios["all"], "ratio_kill": ratios["kill"], "ratio_switchover": ratios["switchover"],
        "ratio_steps": {name: _ratio(many["all"]["steps_ms"][name], few["all"]["steps_ms"][name]) for name in STEPS},
        "establish_ms": {count: each["establish_ms"] for count, each in sessions.items()}}


def _summary(series):
    summary = {
        "establish_ms": series.establish_ms, "alive": series.alive, "problems": series.problems,
        "rejoined_ms": _spread([each["rejoined_ms"] for each in series.takeovers if each["rejoined_ms"] is not None])}
    for kind in ("all", "kill", "switchover"):
        chosen = [each for each in series.takeovers if kind in ("all", each["kind"])]
        summary[kind] = {
            "count": len(chosen), "total_ms": _spread([each["total_ms"] for each in chosen]),
            "steps_ms": {name: _spread([each["steps_ms"][name] for each in chosen]) for name in STEPS}}
    summary["takeovers"] = series.takeovers
    return summary


def _spread(values):
    return {"median": round(statistics.median(values), 3), "min": min(values), "max": max(values)}


def _ratio(many, few):
    """Of medians; a step of less than a microsecond counts as one, which is the clock's grain."""
    return round(max(many["median"], 0.001) / max(few["median"], 0.001), 2)


def show(result):
    """The table: each step and the total, for each count, and how many times as long with the most as with the fewest."""
    counts = list(result["sessions"])
    for kind in ("kill", "switchover", "all"):
        number = result["sessions"][counts[0]][kind]["count"]
        print(f"\n{'both kinds' if kind == 'all' else kind}, {number} takeovers: median (min … max) in ms")
        print(f"  {'step':<18}" + "".join(f"{f'{count} sessions':>28}" for count in counts) + f"{'ratio':>8}")
        for name in (*STEPS, "total"):
            spreads = [_of(result["sessions"][count][kind], name) for count in counts]
            cells = "".join(f"{_cell(spread):>28}" for spread in spreads)
            print(f"  {name:<18}{cells}{_ratio(spreads[-1], spreads[0]):8.2f}")
    print()
    for count, each in result["sessions"].items():
        back = each["rejoined_ms"]
        print(
            f"{count} sessions: established in {each['establish_ms']} ms; a killed node, started again, is in step after "
            f"{back['median']:.0f} ms ({back['min']} … {back['max']})")
    print(flush=True)


def _of(summary, name):
    return summary["total_ms"] if name == "total" else summary["steps_ms"][name]


def _cell(spread):
    return f"{spread['median']:.3f} ({spread['min']:.3f} … {spread['max']:.3f})"


def judge(checks, result):
    """What must hold; usable with the checks of a larger run."""
    for count, each in result["sessions"].items():
        name = f"{count} sessions: all on both nodes after each of {each['all']['count']} takeovers, and all answer"
        checks.expect(name, each["alive"] == int(count), f"{each['alive']} answer")
        checks.expect(f"{count} sessions: no step failed", not each["problems"], "; ".join(each["problems"]))
    few, many = (result["sessions"][str(count)] for count in (f(map(int, result["sessions"])) for f in (min, max)))
    for kind in ("kill", "switchover"):
        short, long = few[kind]["total_ms"]["median"], many[kind]["total_ms"]["median"]
        grows = long > RATIO_MAX * short and long - short > APART_MS_MAX
        ratio = _ratio(many[kind]["total_ms"], few[kind]["total_ms"])
        name = f"{kind}: with the most sessions within {RATIO_MAX:g} times, or {APART_MS_MAX:g} ms, of what it takes with the fewest"
        checks.expect(name, not grows, f"median total {short:.3f} and {long:.3f} ms, ratio {ratio}")


def perform(options):
    os.makedirs(options.out, exist_ok=True)
    path = os.path.join(options.out, "result.json")
    if os.path.exists(path):
        os.unlink(path)
    checks, start = Checks("Takeover with few and with many sessions"), time.monotonic()
    result = measure(options.build, tuple(options.counts), options.repeats, options.dataplane, options.keep)
    show(result)
    judge(checks, result)
    result.update(passed=len(checks.passed), failed=checks.failed, seconds=round(time.monotonic() - start, 1))
    with open(path, "w") as file:
        json.dump(result, file, indent=2)
        file.write("\n")
    print(path)
    return checks.close()


def main():
    parser = argparse.ArgumentParser(description="Takeover steps with few and with many sessions.")
    parser.add_argument("--build", default=".build/release", help="folder with tandemd, tandem and session-generator")
    parser.add_argument("--out", default=".build/bench", help="folder for results")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="numbers of sessions")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="takeovers of each kind on each pair")
    parser.add_argument("--dataplane", default="auto", choices=["auto", "user", "kernel"])
    parser.add_argument("--keep", action="store_true", help="keep the logs")
    options = parser.parse_args()
    sys.exit(guarded(lambda: perform(options)))


if __name__ == "__main__":
    main()
