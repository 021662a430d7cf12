"""Debian's stock strongSwan: one charon in a namespace, with a configuration of its own."""

import os
import re
from dataclasses import dataclass

from . import kernel as kernel_calls
from .processes import LabError, Process, run, wait_until
from .vici import Vici, ViciError

CHARON = "/usr/lib/ipsec/charon"
#: What Debian's default configuration would load as far as an IKEv2 endpoint with a pre-shared key needs it.
PLUGINS = (
    "aesni random nonce drbg aes sha1 sha2 md5 hmac cmac kdf gcm ctr ccm chapoly curve25519 gmp openssl pem pkcs1 pkcs8 x509 pubkey "
    "constraints revocation socket-default {kernel} vici updown"
)
#: ESP in charon itself over a TUN device, for kernels without ESP; it needs kernel-netlink for addresses and routes.
KERNEL_PLUGINS = {"kernel-libipsec": "kernel-libipsec kernel-netlink", "kernel-netlink": "kernel-netlink"}

STRONGSWAN_CONF = """\
charon {{
    load_modular = no
    load = {plugins}
    plugins {{ vici {{ socket = unix://{socket} }} }}
    filelog {{ log {{
        path = {log}
        time_format = %s
        time_add_ms = yes
        flush_line = yes
        default = 1
        esp = 1
    }} }}
{extra}}}
"""

REPLAY_DROP = "ESP sequence number verification failed"


@dataclass(frozen=True)
class TunnelProof:
    """What must stay the same over a takeover, as the client's own charon names it."""

    ike_unique_id: str
    ike_spis: tuple
    child_unique_id: str
    child_spis: tuple
    virtual_address: str

    @property
    def ike(self):
        return (self.ike_unique_id, self.ike_spis)

    @property
    def child(self):
        return (self.child_unique_id, self.child_spis)


class Charon:
    """A charon with `swanctl` files written by us: `conf` is a whole swanctl.conf."""

    def __init__(self, network, host, directory, conf, kernel="kernel-libipsec", extra=""):
        self.network, self.host, self.kernel = network, host, kernel
        self.directory = os.path.join(directory, host)
        self.socket = os.path.join(self.directory, "charon.vici")
        self.log_path = os.path.join(self.directory, "charon.log")
        os.makedirs(os.path.join(self.directory, "swanctl"), exist_ok=True)
        if os.path.exists(self.log_path):
            os.unlink(self.log_path)
        self._write("swanctl/swanctl.conf", conf)
        plugins = PLUGINS.format(kernel=KERNEL_PLUGINS[kernel])
        self._write("strongswan.conf", STRONGSWAN_CONF.format(plugins=plugins, socket=self.socket, log=self.log_path, extra=extra))
        self.environment = {
            "STRONGSWAN_CONF": os.path.join(self.directory, "strongswan.conf"),
            "SWANCTL_DIR": os.path.join(self.directory, "swanctl"),
        }
        self.process = None

    def start(self):
        self.process = Process(
            f"charon-{self.host}", [CHARON], network=self.network.name(self.host), private=True, environment=self.environment,
            log=os.path.join(self.directory, "charon.out"))
        wait_until(f"charon's socket in {self.host}", self._answers, timeout=20)
        run("swanctl", "--load-all", "--uri", f"unix://{self.socket}", environment=self.environment)

    def stop(self):
        if self.process:
            self.process.end()

    def ask(self, command, message=None, timeout=15.0):
        with Vici(self.socket, timeout) as vici:
            return vici.request(command, message)

    def initiate(self, child, timeout_ms=10_000):
        """Brings a child up; raises ViciError with charon's reason when it is refused."""
        return self.ask("initiate", {"child": child, "timeout": timeout_ms}, timeout=timeout_ms / 1000 + 5)

    def terminate(self, ike):
        return self.ask("terminate", {"ike": ike, "timeout": "5000"})

    def rekey_ike(self, ike):
        return self.ask("rekey", {"ike": ike})

    def rekey_child(self, child):
        return self.ask("rekey", {"child": child})

    def associations(self):
        """The IKE SAs as `swanctl --list-sas` sees them: a list of (connection, details)."""
        with Vici(self.socket) as vici:
            return [pair for event in vici.stream("list-sas", "list-sa") for pair in event.items()]

    def proof(self, connection="road", child="net"):
        """The one IKE SA and its one CHILD SA; raises when there are more or fewer."""
        sas = [details for name, details in self.associations() if name == connection and details["state"] == "ESTABLISHED"]
        if len(sas) != 1:
            raise LabError(f"{self.host} has {len(sas)} established IKE SAs, not one")
        ike = sas[0]
        children = [c for c in ike["child-sas"].values() if c["name"] == child and c["state"] == "INSTALLED"]
        if len(children) != 1:
            raise LabError(f"{self.host} has {len(children)} installed CHILD SAs, not one")
        return TunnelProof(
            ike["uniqueid"], (ike["initiator-spi"], ike["responder-spi"]), children[0]["uniqueid"],
            (children[0]["spi-in"], children[0]["spi-out"]), (ike.get("local-vips") or [""])[0])

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def replay_drops(self):
        """ESP packets that this client took for replays, from its log or, with the kernel's ESP, from its counters."""
        if self.kernel == "kernel-libipsec":
            return self.log().count(REPLAY_DROP)
        shown = run("ip", "-n", self.network.name(self.host), "-s", "xfrm", "state", "list").stdout
        of_states = sum(int(count) for count in re.findall(r"replay-window (?:\d+ )?replay (\d+) failed", shown))
        return max(of_states, self._kernel_counter("XfrmInStateSeqError"))

    def _kernel_counter(self, name):
        """One of the namespace's XFRM counters; 0 where the kernel keeps none. Unlike an SA's own it outlives a rekey."""
        with kernel_calls.inside(self.network.name(self.host)):
            try:
                with open("/proc/thread-self/net/xfrm_stat") as file:
                    return next((int(line.split()[1]) for line in file if line.split()[0] == name), 0)
            except FileNotFoundError:
                return 0

    def settled_proof(self, connection="road", child="net", unlike=None, timeout=10.0):
        """The proof once there is exactly one of each (a rekey has two for a moment) and `unlike` holds for it."""

        def proof():
            try:
                now = self.proof(connection, child)
            except LabError:
                return None
            return None if unlike and not unlike(now) else now

        return wait_until(f"{self.host}'s SAs settle", proof, timeout, every=0.02)

    def _answers(self):
        if not self.process.alive:
            raise LabError(f"charon in {self.host} ended\n{self.process.tail()}")
        try:
            self.ask("version")
            return True
        except (OSError, ViciError):
            return False

    def _write(self, name, text):
        with open(os.path.join(self.directory, name), "w") as file:
            file.write(text)


ROAD_CONF = """\
connections {{
    {connection} {{
        remote_addrs = {gateway}
        vips = 0.0.0.0
        dpd_delay = {dpd}
        rekey_time = 0
        {more}
        local {{ auth = psk
            id = {identity} }}
        remote {{ auth = psk
            id = gw.example.net }}
        children {{ net {{
            remote_ts = {remote_ts}
            rekey_time = 0
        }} }}
    }}
}}
"""
SECRET_CONF = """\
secrets {{ ike-{name} {{
    id-own = {identity}
    id-gw = gw.example.net
    secret = "{secret}"
}} }}
"""
#: A gateway of another site, which waits to be called.
SITE_CONF = """\
connections {{
    headquarters {{
        local_addrs = {address}
        remote_addrs = {gateway}
        rekey_time = 0
        local {{ auth = psk
            id = {identity} }}
        remote {{ auth = psk
            id = gw.example.net }}
        children {{ branch {{
            local_ts = {local_ts}
            remote_ts = {remote_ts}
            rekey_time = 0
        }} }}
    }}
}}
"""
SITE_IDENTITY = "site.example.net"
IDENTITY = "anna@example.net"
PRE_SHARED_KEY = "correct horse battery staple"


def road_conf(gateway, connection="road", identity=IDENTITY, secret=PRE_SHARED_KEY, dpd="0s", remote_ts="10.10.0.0/16", more=""):
    """A road warrior's swanctl.conf: pre-shared key, virtual address, proposals left at their defaults."""
    return ROAD_CONF.format(connection=connection, gateway=gateway, identity=identity, dpd=dpd, remote_ts=remote_ts, more=more) + (
        SECRET_CONF.format(name=connection, identity=identity, secret=secret))


def site_conf(address, gateway, local_ts, remote_ts, secret=PRE_SHARED_KEY):
    """The other end of a tunnel between two networks; it answers, and does not call."""
    conf = SITE_CONF.format(address=address, gateway=gateway, identity=SITE_IDENTITY, local_ts=local_ts, remote_ts=remote_ts)
    return conf + SECRET_CONF.format(name="headquarters", identity=SITE_IDENTITY, secret=secret)
