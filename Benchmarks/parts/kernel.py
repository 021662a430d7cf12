"""GET and PUT, establishment and takeovers with XFRM, in User-Mode Linux: a kernel with ESP on one slow processor that carries every host.

`measure` runs there what `inside` does. What is measured is the same as on the host, by the same parts; at the charon it is kernel-netlink.
PUT is held against the bare netlink calls for the same states and policies (`netlink-floor`), among as many that stand.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile

from tandemlab.processes import LabError, run

from . import common, contexts, establishment, takeover

COUNTS, QUICK_COUNTS = (10, 100, 1000), (10, 20)
#: As many CHILD SAs are installed by bare netlink calls as sessions are moved.
FLOOR_SAMPLES = 100
#: One processor for all hosts: shorter heartbeats give false alarms there.
HEARTBEAT = "200ms"
#: For everything, in a kernel that does some ten times less than the host.
SECONDS, QUICK_SECONDS, MEMORY = 5400, 900, "2G"
#: What User-Mode Linux covers with empty folders of its own: a build in there is not seen.
COVERED = ("/run/", "/tmp/", "/var/tmp/", "/root/", "/home/")
TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def measure(options):
    common.need(options, "session-generator", "netlink-floor")
    if options.build.startswith(COVERED) and not options.build.startswith(TREE + "/"):
        raise LabError(f"{options.build} is not seen inside User-Mode Linux: build in the tree, or outside of {', '.join(COVERED)}")
    folder = tempfile.mkdtemp(prefix="kernel-", dir=options.out)
    arguments = [sys.executable, os.path.join(TREE, "Benchmarks", "bench.py"), "--build", options.build, "--inside"]
    arguments += ["--quick"] if options.quick else []
    arguments += ["--counts", ",".join(map(str, options.counts))] if options.counts else []
    limit = QUICK_SECONDS if options.quick else SECONDS
    try:
        done = run(
            os.path.join(TREE, "Lab", "uml", "run"), "-m", MEMORY, "-t", limit, "-o", folder, *arguments, check=False, timeout=limit + 60)
        print(done.stdout, end="", flush=True)
        path = os.path.join(folder, "kernel.json")
        if done.returncode != 0 or not os.path.exists(path):
            raise LabError(f"in User-Mode Linux: exit {done.returncode}\n{done.stderr[-1000:]}")
        with open(path) as file:
            return json.load(file)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def inside(options):
    """In that kernel: measures, and leaves the data where the host finds them."""
    counts = options.counts or (QUICK_COUNTS if options.quick else COUNTS)
    few = argparse.Namespace(**{**vars(options), "dataplane": "kernel", "heartbeat": HEARTBEAT, "counts": counts, "quick": True})
    found = {"kernel": os.uname().release}
    found["floor"] = _floor(options.build, counts[-1])
    for part in (contexts, establishment, takeover):
        name = part.__name__.rsplit(".", 1)[1]
        found[name] = part.measure(few)
        found.setdefault("problems", []).extend(f"{name}: {problem}" for problem in found[name].pop("problems", []))
    puts = found["contexts"]["sessions"][str(counts[-1])]["put_ms"]
    found["put_over_floor"] = statistics.median(puts) / statistics.median(found["floor"]["install_ms"])
    with open(os.path.join(os.environ["LAB_OUT"], "kernel.json"), "w") as file:
        json.dump(found, file)


def _floor(build, standing):
    """The bare netlink calls for one CHILD SA among as many as there are sessions, in a network namespace that goes with the program."""
    program = os.path.join(build, "netlink-floor")
    return json.loads(run("unshare", "-n", program, "--standing", standing, "--count", FLOOR_SAMPLES, timeout=300).stdout)
