"""The paper's first test, beside a stock charon: one more session with more and more established, and what a session costs."""

import json

from tandemlab.processes import LabError, run
from tandemlab.vici import Vici

from . import common

COUNTS = (10, 100, 200, 300, 400, 500, 700, 1000)
QUICK_COUNTS = (10, 100)
#: One after the other at each count: the sessions that are there grow by as many while they are measured.
IN_TURN = 10
ROUNDS = 10
LISTINGS = 3


def measure(options):
    common.need(options, "session-generator")
    counts = options.counts or (QUICK_COUNTS if options.quick else COUNTS)
    empty = {"one_more_ms": {str(count): [] for count in counts}, "per_second": {str(count): [] for count in counts[1:]}}
    out = {name: {**json.loads(json.dumps(empty)), "memory_per_session_kib": [], "list_ms": {}} for name in ("tandem", "charon")}
    # Each round begins anew, so that `one more with N` is one more with N, and not with what earlier samples have left.
    for _ in range(2 if options.quick else ROUNDS):
        with common.laboratory(options) as lab:
            kernel = lab.settings.client_kernel
            _round({"tandem": _Tandem(lab), "charon": _Charon(lab, kernel)}, counts, out)
    return {"counts": list(counts), "in_turn": IN_TURN, **out}


def _round(both, counts, out):
    """All counts once. Both sides take turns, so that what else the machine does falls on both."""
    empty = {name: common.memory_kib(each.pid) for name, each in both.items()}
    for count in counts:
        for name, each in both.items():
            missing = count - each.generator.count
            if missing <= 0:
                continue
            milliseconds = each.generator.add(missing)
            if count != counts[0]:
                out[name]["per_second"][str(count)].append(round(missing / max(1, milliseconds) * 1000, 1))
        for name, each in both.items():
            out[name]["one_more_ms"][str(count)] += each.generator.sequence(IN_TURN)
    for name, each in both.items():
        grown = common.memory_kib(each.pid) - empty[name]
        out[name]["memory_per_session_kib"].append(round(grown / each.generator.count, 2))
        out[name]["sessions"] = each.generator.count
    for _ in range(LISTINGS):
        for name, each in both.items():
            for kind, action in each.listings.items():
                found, took = common.timed(action)
                if found != each.generator.count:
                    raise LabError(f"{name} lists {found} of {each.generator.count} sessions")
                out[name]["list_ms"].setdefault(kind, []).append(round(took, 2))


class _Tandem:
    def __init__(self, lab):
        self.gateway, self.generator = common.alone(lab)
        self.pid = self.gateway.process.pid
        self.listings = {"command": lambda: _swanctl(self.gateway.socket), "socket": lambda: _listed(self.gateway.socket)}


class _Charon:
    def __init__(self, lab, kernel):
        self.charon, self.generator = common.stock(lab, kernel=kernel)
        self.pid = self.charon.process.pid
        self.listings = {"command": lambda: _swanctl(self.charon.socket), "socket": lambda: _listed(self.charon.socket)}


def _swanctl(socket):
    """The same command for both: Tandem speaks strongSwan's protocol."""
    shown = run("swanctl", "--list-sas", "--uri", f"unix://{socket}", timeout=120).stdout
    return sum(1 for line in shown.splitlines() if line.startswith("road: "))


def _listed(socket):
    with Vici(socket, 60) as vici:
        return len(vici.stream("list-sas", "list-sa"))
