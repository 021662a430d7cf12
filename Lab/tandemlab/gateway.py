"""A tandemd in a namespace: its files, its process, and what it says of itself."""

import os
import signal
import struct
import time

from .namespaces import INNER, INNER_SHARED, NODES, OUTER_SHARED, PAIR, POOL_NET, SITE_NET, STRANGER
from .processes import LabError, Process, run, wait_until
from .strongswan import PRE_SHARED_KEY
from .vici import Vici, ViciError

#: What every configuration of the labs begins with.
HEAD = """\
[node]
name = "{name}"
id = {id}

[runtime]
directory = "run"
control_socket = "{socket}"
control_group = "nogroup"

[dataplane]
kind = "{dataplane}"

"""

CONFIGURATION = HEAD + """\
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

[[address]]
address = "{outer_shared}/24"
interface = "eth0"

[[address]]
address = "{inner_shared}/16"
interface = "eth1"

[connections.road]
local_addrs = ["{outer_shared}"]
proposals = ["aes256gcm16-prfsha384-ecp384", "default"]
pools = ["road"]
local = {{ auth = "psk", id = "gw.example.net" }}
remote = {{ auth = "psk", id = "%any" }}

[connections.road.children.net]
local_ts = ["10.10.0.0/16"]
esp_proposals = ["default"]

[connections.site]
local_addrs = ["{outer_shared}"]
remote_addrs = ["{site}"]
local = {{ auth = "psk", id = "gw.example.net" }}
remote = {{ auth = "psk", id = "site.example.net" }}

[connections.site.children.branch]
local_ts = ["10.10.0.0/16"]
remote_ts = ["{site_net}"]

[secrets.site]
ids = ["gw.example.net", "site.example.net"]
file = "road.psk"

[secrets.road]
ids = ["gw.example.net", "anna@example.net", "bert@example.net", "carl@example.net"]
file = "road.psk"

[pools.road]
addrs = "{pool}"
"""


class Gateway:
    """One node of the pair. `build` is the folder with the programs `tandemd` and `tandem`."""

    def __init__(self, network, name, directory, build, dataplane="auto", heartbeat=None):
        self.network, self.name, self.build = network, name, build
        self.directory = os.path.join(directory, name)
        self.socket = os.path.join(self.directory, "tandem.vici")
        self.configuration_path = os.path.join(self.directory, "tandem.toml")
        self.process, self.environment = None, None
        os.makedirs(self.directory, exist_ok=True)
        self.write("road.psk", PRE_SHARED_KEY + "\n", mode=0o600)
        self.dataplane, self.heartbeat = dataplane, heartbeat
        self.configure()

    @property
    def peer(self):
        return NODES[1 - NODES.index(self.name)]

    def configure(self, template=CONFIGURATION):
        """Writes the configuration with which the daemon starts next."""
        dataplane, heartbeat = self.dataplane, self.heartbeat
        self.configuration = template.format(
            name=self.name, id=NODES.index(self.name), peer=self.peer, socket=self.socket, dataplane=dataplane,
            pair_local=PAIR[self.name], pair_remote=PAIR[self.peer], inner_local=INNER[self.name], inner_remote=INNER[self.peer],
            outer_shared=OUTER_SHARED, inner_shared=INNER_SHARED, pool=POOL_NET, site=STRANGER, site_net=SITE_NET,
            heartbeat=f'heartbeat = {{ interval = "{heartbeat}" }}\n' if heartbeat else "")
        self.write("tandem.toml", self.configuration)

    def write(self, name, text, mode=0o644):
        """Writes a file of this node's folder; returns its path."""
        path = os.path.join(self.directory, name)
        with open(path, "w", opener=lambda p, flags: os.open(p, flags, mode)) as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    @property
    def daemon(self):
        return os.path.join(self.build, "tandemd")

    def start(self, configuration=None):
        """Starts the daemon; does not wait."""
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        self.process = Process(
            self.name, [self.daemon, "--config", configuration or self.configuration_path], network=self.network.name(self.name),
            private=True, environment=self.environment, log=os.path.join(self.directory, "tandemd.log"))
        return self.process

    def own_clock(self):
        """From its next start on the daemon has a time of day of its own, which `set_clock` moves; the monotonic clock is the host's."""
        library, source = os.path.join(self.directory, "clock.so"), os.path.join(os.path.dirname(os.path.abspath(__file__)), "clock.c")
        run("gcc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl")
        self.set_clock(0)
        self.environment = {"LD_PRELOAD": library, "LAB_CLOCK": os.path.join(self.directory, "clock")}

    def set_clock(self, seconds):
        """So far is its time of day from the host's, at once."""
        path = os.path.join(self.directory, "clock")
        with open(path, "r+b" if os.path.exists(path) else "w+b", buffering=0) as file:
            file.write(struct.pack("=q", seconds))

    def wait_answering(self, timeout=20):
        wait_until(f"{self.name}'s control socket", self._answers, timeout)

    def kill(self):
        """SIGKILL; returns when it was sent, in monotonic seconds."""
        at = time.monotonic()
        self.process.kill()
        return at

    def freeze(self):
        at = time.monotonic()
        self.process.send_signal(signal.SIGSTOP)
        return at

    def stop(self):
        if self.process:
            self.process.end()

    def ask(self, command, message=None, timeout=10.0):
        """A VICI command of the daemon."""
        with Vici(self.socket, timeout) as vici:
            return vici.request(command, message)

    def status(self):
        """What `tandem status` shows, asked without starting a program; None when the daemon does not answer."""
        try:
            return _underscored(self.ask("tandem-status", timeout=2.0))
        except (OSError, ViciError):
            return None

    def in_short(self):
        """Role, epoch and pair state in a few words, for an error."""
        state = self.status()
        if state is None:
            return f"{self.name} does not answer"
        return f"{self.name} is {state['role']} in epoch {state['epoch']}, {state['pair_state']} ({state['pair_reason']})"

    def command(self, *arguments, check=True, timeout=30.0):
        """The operator's command, on this node's socket."""
        return run(os.path.join(self.build, "tandem"), *arguments, "--socket", self.socket, check=check, timeout=timeout)

    def holds_addresses(self):
        """Which shared addresses are on this host's interfaces."""
        shown = run("ip", "-n", self.network.name(self.name), "-4", "-brief", "address").stdout
        return [address for address in (OUTER_SHARED, INNER_SHARED) if f"{address}/" in shown]

    def _answers(self):
        if not self.process.alive:
            raise LabError(f"tandemd on {self.name} ended with {self.process.exit_code}\n{self.process.tail(30)}")
        return self.status() is not None


def _underscored(value):
    """VICI's keys as `--json` writes them; a section whose keys are 0, 1, … as a list."""
    if not isinstance(value, dict):
        return value
    if value and all(key == str(index) for index, key in enumerate(value)):
        return [_underscored(item) for item in value.values()]
    return {key.replace("-", "_"): _underscored(item) for key, item in value.items()}


def make_key(build, name, peer, directory):
    """A new key and certificate of a node, in `directory`."""
    os.makedirs(directory, exist_ok=True)
    run(os.path.join(build, "tandem"), "pair", "init", "--name", name, "--peer-name", peer, "--directory", directory)


class Pair:
    """Both gateways with their keys."""

    def __init__(self, network, directory, build, dataplane="auto", heartbeat=None):
        self.nodes = {name: Gateway(network, name, directory, build, dataplane, heartbeat) for name in NODES}
        self.make_keys(build)

    def make_keys(self, build):
        """`tandem pair init` on each node; then each gets the other's certificate, as an operator would copy it."""
        for gateway in self.nodes.values():
            make_key(build, gateway.name, gateway.peer, os.path.join(gateway.directory, "pair"))
        for gateway in self.nodes.values():
            certificate = f"pair/{gateway.peer}.crt"
            with open(os.path.join(self.nodes[gateway.peer].directory, certificate)) as file:
                gateway.write(certificate, file.read())

    def start(self):
        for gateway in self.nodes.values():
            gateway.start()
        for gateway in self.nodes.values():
            gateway.wait_answering()

    def stop(self):
        for gateway in self.nodes.values():
            gateway.stop()

    def wait_paired(self, timeout=30):
        """Waits until one node is active, the other standby, and both say `paired`. Returns (active, standby)."""

        def paired():
            states = {name: gateway.status() or {} for name, gateway in self.nodes.items()}
            if any(state.get("pair_state") != "paired" for state in states.values()):
                return None
            roles = {state["role"]: name for name, state in states.items()}
            return (self.nodes[roles["active"]], self.nodes[roles["standby"]]) if set(roles) == {"active", "standby"} else None

        try:
            return wait_until("the pair is paired", paired, timeout, every=0.1)
        except LabError as error:
            raise LabError(f"{error}: " + "; ".join(gateway.in_short() for gateway in self.nodes.values())) from None

    def wait_active(self, gateway, since_epoch, timeout=10):
        """Waits until this node is active with a higher epoch than `since_epoch`; returns its status."""

        def active():
            state = gateway.status()
            return state if state and state["role"] == "active" and int(state["epoch"]) > since_epoch else None

        return wait_until(f"{gateway.name} is active", active, timeout, every=0.02)
