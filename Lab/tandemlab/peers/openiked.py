"""Debian's OpenIKED as the peer. Its control program has no word for a rekey: octets make the one of a CHILD SA, time the other."""

import os
import re
import shutil
import threading
import time

from ..interop.credentials import GATEWAY_ID, PEER_ID, PRE_SHARED_KEY
from ..interop.network import BRANCH, BRANCH_NET, INNER_NET
from ..interop.suites import SUITES
from ..interop.watch import CREATE_CHILD_SA
from ..processes import Process, run, wait_until
from .base import Peer

CONF = """\
{setting}
set {mobike}
set {fragmentation}
set dpd_check_interval {dpd}
ikev2 "peer" {mode} esp from {branch} to {inner} \\
    local {address} peer {gateway} \\
    ikesa {ike} \\
    childsa {esp} \\
    srcid {peer_id} dstid {gateway_id} \\
    ikelifetime {ike_lifetime} lifetime 10800 bytes {octets} \\
    {authentication}
"""
FOLDERS = ("ca", "certs", "crls", "ocsp", "private", "pubkeys/fqdn", "pubkeys/ipv4", "pubkeys/ipv6", "pubkeys/ufqdn")
#: A CHILD SA is rekeyed at 85 to 95 % of this; it is far more than the cells send.
LIFETIME_OCTETS = 1_000_000
#: So many octets are sent fast, then the rest slowly: from the soft limit on iked takes a second or two, and must not meet the hard one.
FAST_OCTETS = 780_000
DATAGRAM_OCTETS = 1300
SLOW_PAUSE_S = 0.05
EXHAUST_S = 15
#: In the rows that wait for it: 85 to 95 % of this after the IKE SA was made (seconds).
TIMED_IKE_LIFETIME_S = 30
ESTABLISHED = re.compile(r"iked_sas: \S+ rspi (\S+) ispi (\S+) .* ESTABLISHED")
AUTHENTICATION = {"psk": f'psk "{PRE_SHARED_KEY}"', "rsa": "rfc7427", "ecdsa": "ecdsa256", "ecdsa384": "ecdsa384", "ed25519": "rfc7427"}

#: What Debian's package was seen to lack, by suite.
AEAD = "OpenIKED 7.2 on Linux leaves AEAD ciphers out of what `childsa` says (`iked -n -v` shows it)"
LACKS = {
    "gcm": AEAD, "gcm-pfs": AEAD,
    "chacha": f"{AEAD}, and has ChaCha20-Poly1305 for ESP only, iked.conf(5)",
    "cbc": "OpenIKED 7.2 on Linux cannot load ESP with SHA2-256 (`pfkey_sa: unsupported integrity algorithm HMAC_SHA2_256_128`)",
}


class OpenIKED(Peer):
    kind = "openiked"
    rekey_patience_s = 10
    missing = {"mobike": "iked.conf(5): OpenIKED supports MOBIKE as responder only; the initiator is who moves"}

    @classmethod
    def lacks(cls, row):
        if row.auth == "ed25519":
            return "OpenIKED 7.2 has no Ed25519 (`ca_privkey_serialize: unsupported key type 1087`)"
        if row.inside != row.outside:
            return "OpenIKED 7.2 on Linux asks for ever new CHILD SAs when inner and outer family differ: the kernel does not find its SA"
        return LACKS.get(row.suite)

    def not_offered(self, cell):
        if "rekey_ike_by_peer" in cell and not self.row.timed:
            return "ikectl(8) has no rekey; iked rekeys an IKE SA by ikelifetime alone, which the timed rows wait for"
        return super().not_offered(cell)

    def start(self):
        self.directory = os.path.join(self.bench.row_directory, "iked")
        self.log_path = os.path.join(self.directory, "iked.log")
        self.socket = os.path.join(self.directory, "iked.sock")
        self._make_tree()
        path = os.path.join(self.directory, "iked.conf")
        with open(path, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(self._conf())
        self.process = Process(
            "iked", ["/usr/sbin/iked", "-d", "-v", "-v", "-f", path, "-s", self.socket], network=self.network.name("peer"), private=True,
            log=self.log_path, binds=[(self._path("etc"), "/etc/iked")])
        wait_until("iked's socket", lambda: os.path.exists(self.socket), 10)
        wait_until("iked answers", lambda: self._ikectl("show", "sa").returncode == 0, 10, every=0.3)

    def initiate(self):
        self._ikectl("active")

    def rekey_child(self):
        threading.Thread(target=self._exhaust, args=(time.monotonic(),), daemon=True).start()

    def _exhaust(self, since):
        """Sends until the SA's octets are used up and the request for a new one is seen."""
        deadline = since + EXHAUST_S
        self.bench.echo.pump(FAST_OCTETS // DATAGRAM_OCTETS, DATAGRAM_OCTETS)
        while time.monotonic() < deadline and not self.bench.watch.requested(CREATE_CHILD_SA, since, self.gateway_address):
            self.bench.echo.pump(1, DATAGRAM_OCTETS)
            time.sleep(SLOW_PAUSE_S)

    def rekey_ike(self):
        """Comes by itself."""

    def delete(self):
        self._ikectl("reset", "id", f"FQDN/{GATEWAY_ID}")

    def ike_associations(self):
        return [(initiator, responder) for responder, initiator in ESTABLISHED.findall(self._ikectl("show", "sa").stdout)]

    def inner_address(self):
        return BRANCH[self.row.inside]

    def stop(self):
        if self.process:
            self.process.end(timeout=2.0)

    def _ikectl(self, *arguments):
        return run("ikectl", "-s", self.socket, *arguments, check=False)

    def _make_tree(self):
        for folder in FOLDERS:
            os.makedirs(self._path(f"etc/{folder}"))
        # It wants a key of its own in any case.
        folder = self.bench.credentials.of("ecdsa" if self.row.auth == "psk" else self.row.auth)
        for name, place in (("ca.crt", "ca/ca.crt"), ("peer.crt", "certs/peer.crt"), ("peer.key", "private/local.key")):
            shutil.copy(os.path.join(folder, name), self._path(f"etc/{place}"))
        run("openssl", "pkey", "-in", self._path("etc/private/local.key"), "-pubout", "-out", self._path("etc/local.pub"))

    def _conf(self):
        row = self.row
        ike, esp = SUITES[row.suite].openiked
        calls = row.role == "responder"
        return CONF.format(
            # It waits for `ikectl active`, so that the moment of the call is ours.
            setting="set passive" if calls else "set active", mode="active" if calls else "passive",
            mobike="mobike" if row.mobike else "nomobike", fragmentation="fragmentation" if row.fragment else "nofragmentation",
            # It asks only when it has sent ESP and got none, and PF_KEY on Linux does not say when an SA was used.
            dpd=0, branch=BRANCH_NET[row.inside], inner=INNER_NET[row.inside], address=self.address,
            gateway=self.gateway_address, ike=ike, esp=esp, peer_id=PEER_ID, gateway_id=GATEWAY_ID,
            ike_lifetime=TIMED_IKE_LIFETIME_S if row.timed else 0, octets=LIFETIME_OCTETS, authentication=AUTHENTICATION[row.auth])

    def _path(self, name):
        return os.path.join(self.directory, name)
