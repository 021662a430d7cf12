"""The paper's second test: GET and PUT of random sessions among more and more, by the command line and by the daemon's own clock."""

import json
import os
import random

from tandemlab.processes import LabError

from . import common

COUNTS, QUICK_COUNTS = (10, 100, 200, 300, 400, 500, 700, 1000, 10_000), (10, 100)
#: Random sessions of each round, as in the paper, and rounds.
PICKED, ROUNDS, QUICK_ROUNDS = 10, 10, 2


def measure(options):
    common.need(options, "session-generator")
    counts = options.counts or (QUICK_COUNTS if options.quick else COUNTS)
    source, out = random.Random(4), {}
    with common.laboratory(options) as lab:
        gateway, generator = common.alone(lab)
        for count in counts:
            generator.up_to(count)
            samples = {"get_cli_ms": [], "put_cli_ms": [], "get_ms": [], "put_ms": []}
            for _ in range(QUICK_ROUNDS if options.quick else ROUNDS):
                for number in source.sample(range(count), min(PICKED, count)):
                    _move(lab, gateway, f"generated{number}.example.net", samples)
            owned = int(gateway.status()["sessions_owned"])
            if owned != count:
                raise LabError(f"{owned} of {count} sessions are left")
            out[str(count)] = samples
        # What was taken out and put in again must still be a session on the wire.
        alive = generator.check()
    if alive != counts[-1]:
        raise LabError(f"{alive} of {counts[-1]} sessions answer after GET and PUT")
    return {"sessions": out, "alive": alive}


def _move(lab, gateway, name, samples):
    """Out into a file and in again."""
    path = os.path.join(lab.directory, "context.json")
    for verb, arguments in (("get", [name, "--detach", "-o", path]), ("put", [path])):
        done, took = common.timed(lambda: gateway.command(verb, *arguments, "--json"))
        samples[f"{verb}_cli_ms"].append(round(took, 3))
        samples[f"{verb}_ms"].append(float(json.loads(done.stdout)["took_ms"]))
    os.unlink(path)
