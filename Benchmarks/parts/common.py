"""Responders under the same load, and what is asked of a process."""

import contextlib
import os
import re
import secrets
import statistics
import time

from tandemlab.gateway import HEAD, Gateway, Pair
from tandemlab.laboratory import Laboratory, Settings
from tandemlab.namespaces import CLIENT, OUTER, OUTER_SHARED, STRANGER
from tandemlab.processes import LabError, Process, run, wait_until
from tandemlab.strongswan import Charon

GATEWAY_ID = "gw.example.net"

#: One gateway without a pair. Addresses for a hundred thousand sessions.
ALONE = HEAD + """\
[[address]]
address = "{outer_shared}/24"
interface = "eth0"

[[address]]
address = "{inner_shared}/16"
interface = "eth1"

[connections.road]
local_addrs = ["{outer_shared}"]
pools = ["road"]
local = {{ auth = "psk", id = "gw.example.net" }}
remote = {{ auth = "psk", id = "%any" }}

[connections.road.children.net]
local_ts = ["10.10.0.0/16"]
esp_proposals = ["aes128gcm16"]

[secrets.generated]
ids = ["gw.example.net", "%any"]
file = "generated.psk"

[pools.road]
addrs = "10.128.0.0/14"
"""

CHARON = """\
connections {{ road {{
    local_addrs = {address}
    pools = road
    rekey_time = 0
    local {{ auth = psk
        id = gw.example.net }}
    remote {{ auth = psk
    }}
    children {{ net {{
        local_ts = 10.10.0.0/16
        esp_proposals = aes128gcm16
        rekey_time = 0
    }} }}
}} }}
secrets {{ ike-generated {{
    secret = "{secret}"
}} }}
pools {{ road {{
    addrs = 10.160.0.0/14
}} }}
"""
#: As an operator of many sessions would have it: no limit for one address, hash tables that fit, no log of ordinary things.
CHARON_TUNING = """\
    dos_protection = no
    ikesa_table_size = 1024
    ikesa_table_segments = 16
    filelog { log {
        default = 0
        esp = 0
        flush_line = no
    } }
"""


class Generator:
    """A `session-generator` in a namespace."""

    def __init__(self, lab, host, local, remote, secret):
        self.process = Process(
            f"generator-{host}", [
                os.path.join(lab.settings.build, "session-generator"), "--local", local, "--remote", remote, "--count", 0, "--timeout", 900,
                "--secret", secret, "--gateway", GATEWAY_ID], network=lab.network.name(host))
        lab.at_end(self.process.end)
        self.process.wait_for("^established", 20)
        self.count = 0

    def add(self, count, timeout=900):
        """So many more at once, eight at a time; returns the milliseconds it took."""
        _, milliseconds, _ = self._ask(f"add {count}", "added", timeout)
        self.count += count
        return milliseconds

    def up_to(self, count):
        return self.add(count - self.count) if count > self.count else 0

    def sequence(self, count):
        """So many more one after the other; returns how many milliseconds each took."""
        _, _, each = self._ask(f"sequence {count}", "sequence", 120)
        self.count += count
        return [int(value) / 1000 for value in each.split()]

    def check(self):
        """How many sessions the gateway still answers on."""
        return self._ask("check", "alive", 300, must=False)[0]

    def _ask(self, command, word, timeout, must=True):
        since = time.monotonic()
        self.process.tell(command)
        _, line = self.process.wait_for(rf"^{word} \d+ of", timeout, since)
        done, total, milliseconds, each = re.match(rf"{word} (\d+) of (\d+) in (\d+) ms(?:: (.*))?", line).groups()
        if must and done != total:
            raise LabError(f"{command}: {done} of {total}\n{self.process.tail()}")
        return int(done), int(milliseconds), each or ""


def alone(lab, configuration=ALONE, name="sg1"):
    """A tandemd without a pair, and a generator of sessions with it."""
    secret = secrets.token_hex(16)
    gateway = Gateway(lab.network, name, lab.directory, lab.settings.build, lab.settings.dataplane)
    gateway.configure(configuration)
    gateway.write("generated.psk", secret + "\n", mode=0o600)
    lab.at_end(gateway.stop)
    gateway.start()
    gateway.wait_answering()
    wait_until("the gateway is active", lambda: (gateway.status() or {}).get("role") == "active", 10)
    return gateway, Generator(lab, "client", CLIENT, OUTER_SHARED, secret)


def stock(lab, name="sg2", kernel="kernel-libipsec"):
    """A stock charon as responder beside it, and a generator of sessions with it."""
    secret = secrets.token_hex(16)
    charon = Charon(
        lab.network, name, lab.directory, CHARON.format(address=OUTER[name], secret=secret), kernel, extra=CHARON_TUNING)
    lab.at_end(charon.stop)
    charon.start()
    return charon, Generator(lab, "stranger", STRANGER, OUTER[name], secret)


def paired(lab, configuration=ALONE):
    """A pair with the same configuration, and a generator of sessions with it; returns (pair, generator)."""
    secret = secrets.token_hex(16)
    pair = Pair(lab.network, lab.directory, lab.settings.build, lab.settings.dataplane, lab.settings.heartbeat)
    section = """\
[pair]
peer = "{peer}"
certificate = "pair/{name}.crt"
key = "pair/{name}.key"
peer_certificate = "pair/{peer}.crt"
{heartbeat}
[[pair.path]]
local = "{pair_local}:4510"
remote = "{pair_remote}:4510"

[[pair.path]]
local = "{inner_local}:4510"
remote = "{inner_remote}:4510"

"""
    for gateway in pair.nodes.values():
        gateway.configure(configuration.replace("[[address]]", section + "[[address]]", 1))
        gateway.write("generated.psk", secret + "\n", mode=0o600)
    lab.pair = pair
    lab.at_end(pair.stop)
    pair.start()
    pair.wait_paired()
    return pair, Generator(lab, "client", CLIENT, OUTER_SHARED, secret)


@contextlib.contextmanager
def laboratory(options):
    """A laboratory of its own; in the kernel lab, with the kernel's ESP on both sides."""
    kernel = options.dataplane == "kernel"
    settings = Settings(
        options.build, client_kernel="kernel-netlink" if kernel else "kernel-libipsec", dataplane=options.dataplane,
        heartbeat=options.heartbeat)
    with Laboratory(settings) as lab:
        yield lab


def need(options, *programs):
    """Raises LabError when a program of the build is missing, with what to do about it."""
    missing = [name for name in programs if not os.access(os.path.join(options.build, name), os.X_OK)]
    if missing:
        where = f"there is no {', '.join(missing)} in {options.build}"
        raise LabError(f"{where}: build it first (`make bench` does), or name the folder with --build")


def wait_held(pair, count, timeout=60):
    """Until the active owns so many sessions and the standby holds them."""
    active, standby = pair.wait_paired(timeout)

    def held():
        owner, holder = active.status() or {}, standby.status() or {}
        return int(owner.get("sessions_owned", 0)) == count and int(holder.get("sessions_held", 0)) == count

    wait_until(f"{count} sessions on both nodes", held, timeout, every=0.02)
    return active, standby


def link_counters(gateway):
    """What the node has put on the link to the other one; nothing, when it is alone."""
    counters = wait_until(f"{gateway.name} answers", gateway.status, 30)["counters"]
    return {"bytes": int(counters.get("link_bytes_sent", 0)), "entries": int(counters["entries_sent"])}


def openssl_nanoseconds(octets):
    """Of AES-128-GCM over so many octets, by OpenSSL's own measurement on one core: the floor of a packet."""
    done = run("openssl", "speed", "-mr", "-seconds", "2", "-bytes", octets, "-evp", "aes-128-gcm", timeout=60)
    speed = re.search(r"^\+F:\d+:[^:]+:([0-9.]+)", done.stdout, re.M)
    if not speed:
        raise LabError(f"openssl speed says no speed: {done.stdout[-300:]}")
    return round(octets / float(speed.group(1)) * 1e9, 1)


def memory_kib(pid):
    """The process's own share of memory (PSS)."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(action):
    """What it returns, and the milliseconds that it took."""
    began = time.monotonic()
    result = action()
    return result, (time.monotonic() - began) * 1000


def median(values):
    return round(statistics.median(values), 4)
