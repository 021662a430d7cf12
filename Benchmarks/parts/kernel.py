"""GET and PUT, establishment and takeovers with XFRM, in User-Mode Linux: a kernel with ESP on one slow processor that carries every host.

`measure` runs there what `inside` does. What is measured is the same as on the host, by the same parts; at the charon it is kernel-netlink.
PUT is held against the bare netlink calls for the same states and policies (`netlink-floor`), among as many that stand: both in turn, since a
machine that is slow for a while is so for both.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile

from tandemlab.processes import LabError, run
from tandemlab.vici import Vici

from . import common, contexts, establishment, takeover

COUNTS, QUICK_COUNTS = (10, 100, 1000), (10, 20)
#: PUTs, and as many times the bare netlink calls, in turn.
FLOOR_SAMPLES, QUICK_FLOOR_SAMPLES = 200, 20
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
    # What is the kernel there and what are its programs are processes here, and each system call goes from one to the other: on two
    # processors that takes three times as long as on one, and now it is so and now it is not.
    pinned = ("taskset", "-c", max(os.sched_getaffinity(0)))
    try:
        done = run(
            *pinned, os.path.join(TREE, "Lab", "uml", "run"), "-m", MEMORY, "-t", limit, "-o", folder, *arguments, check=False, timeout=limit + 60)
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
    found["floor"] = _floor(few, counts[-1], QUICK_FLOOR_SAMPLES if options.quick else FLOOR_SAMPLES)
    for part in (contexts, establishment, takeover):
        name = part.__name__.rsplit(".", 1)[1]
        found[name] = part.measure(few)
        found.setdefault("problems", []).extend(f"{name}: {problem}" for problem in found[name].pop("problems", []))
    found["put_over_floor"] = statistics.median(found["floor"]["put_ms"]) / statistics.median(found["floor"]["install_ms"])
    with open(os.path.join(os.environ["LAB_OUT"], "kernel.json"), "w") as file:
        json.dump(found, file)


def _floor(options, standing, count):
    """PUT, and the bare netlink calls for one CHILD SA among as many as there are sessions: one and the other in turn, each asked by this
    program, so that both find the processor alike. The latter in a network namespace that goes with their program."""
    installs, samples, source = [], {"get_ms": [], "put_ms": []}, random.Random(6)
    bare = ["unshare", "-n", os.path.join(options.build, "netlink-floor"), "--standing", str(standing)]
    with common.laboratory(options) as lab:
        gateway, generator = common.alone(lab)
        generator.up_to(standing)
        with Vici(gateway.socket) as vici, subprocess.Popen(bare, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as floor:
            if floor.stdout.readline() != "ready\n":
                raise LabError("netlink-floor did not begin")
            for number in source.sample(range(standing), min(count, standing)):
                contexts.move_at_once(vici, f"generated{number}.example.net", samples)
                floor.stdin.write("\n")
                installs.append(float(floor.stdout.readline()))
            floor.stdin.close()
    return {"standing": standing, "install_ms": installs, **samples}
