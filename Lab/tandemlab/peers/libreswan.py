"""Debian's libreswan as the peer: pluto alone, with files and an NSS database of its own."""

import os
import re

from ..interop.configuration import DPD_DELAY_S
from ..interop.credentials import GATEWAY_ID, PEER_ID, PRE_SHARED_KEY
from ..interop.network import BRANCH, BRANCH_NET, INNER_NET
from ..interop.suites import SUITES
from ..processes import Process, run
from .base import Peer

#: Unpacked beside strongSwan by `Lab/packages libreswan FOLDER`, for as packages the two exclude each other.
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../.build/libreswan")
LIBEXEC = os.path.join(os.path.abspath(FOLDER), "usr/libexec")
PROGRAMS = os.path.join(LIBEXEC, "ipsec")
CONF = """\
conn peer
	ikev2=insist
	left={address}
	right={gateway}
	leftid=@{peer_id}
	rightid=@{gateway_id}
	{authentication}
	{selectors}
	ike={ike}
	phase2alg={esp}
	pfs={pfs}
	fragmentation={fragmentation}
	mobike={mobike}
	{dpd}
	auto=add
"""
#: Pluto's words for how it signs and verifies.
AUTHBY = {"psk": "secret", "rsa": "rsa-sha2", "ecdsa": "ecdsa", "ecdsa384": "ecdsa"}
ESTABLISHED = re.compile(r'^000 (#\d+): "peer"\S* .*\(established IKE SA\)', re.MULTILINE)


class Libreswan(Peer):
    kind = "libreswan"
    missing = {
        "mobike": "libreswan moves only as a client with a virtual address, ipsec.conf(5) mobike=; here it is a branch",
        "rekey_ike_at_once": "libreswan 4.10 loses its CHILD SAs when rekeys of an IKE SA cross: they stay with the IKE SA that is "
        "redundant (`EXPECTATION FAILED: ike->sa.st_serialno == larval_ike->sa.st_clonedfrom`)",
    }
    deletes_redundant_child = False

    @classmethod
    def lacks(cls, row):
        if row.auth == "ed25519":
            return "libreswan 4.10 has no Ed25519: ipsec.conf(5) authby= knows RSA, ECDSA and secrets only"
        if SUITES[row.suite].libreswan is None:
            return "libreswan 4.10 rekeys a CHILD SA with the IKE SA's group alone, whatever phase2alg says"
        return None

    def start(self):
        self.directory = os.path.join(self.bench.row_directory, "pluto")
        self.log_path = os.path.join(self.directory, "pluto.log")
        os.makedirs(self._path("run"))
        os.makedirs(self._path("nss"))
        self._write("ipsec.conf", self._conf())
        self._write("ipsec.secrets", f'@{PEER_ID} @{GATEWAY_ID} : PSK "{PRE_SHARED_KEY}"\n')
        self._make_database()
        self.process = Process(
            "pluto", [
                f"{PROGRAMS}/pluto", "--nofork", "--stderrlog", "--config", self._path("ipsec.conf"), "--secretsfile",
                self._path("ipsec.secrets"), "--nssdir", self._path("nss"), "--ipsecdir", self.directory, "--rundir", self._path("run"),
                "--no-dnssec", "--nhelpers", "0"],
            network=self.network.name("peer"), private=True, log=self.log_path,
            # It looks for addconn where the package would have it.
            binds=[(LIBEXEC, "/usr/libexec")])
        # It calls addconn for what `auto` says, then listens.
        self.process.wait_for(r"loading secrets from", timeout=30)
        self.process.wait_for(r"added IKEv2 connection", timeout=30)

    def initiate(self):
        self._whack("--initiate", "--name", "peer", "--asynchronous")

    def rekey_ike(self):
        self._whack("--rekey-ike", "--name", "peer", "--asynchronous")

    def rekey_child(self):
        self._whack("--rekey-ipsec", "--name", "peer", "--asynchronous")

    def delete(self):
        self._whack("--terminate", "--name", "peer", "--asynchronous")

    def ike_associations(self):
        return ESTABLISHED.findall(self._whack("--showstates").stdout)

    def inner_address(self):
        return BRANCH[self.row.inside]

    def stop(self):
        if self.process and self.process.alive:
            self.process.kill()

    def _whack(self, *arguments):
        return run(f"{PROGRAMS}/whack", "--rundir", self._path("run"), *arguments, check=False)

    def _make_database(self):
        database = f"sql:{self._path('nss')}"
        run("certutil", "-N", "-d", database, "--empty-password")
        if self.row.auth != "psk":
            folder = self.bench.credentials.of(self.row.auth)
            run("pk12util", "-i", os.path.join(folder, "peer.p12"), "-d", database, "-W", "lab", "-K", "")
            run("certutil", "-A", "-d", database, "-n", "ca", "-t", "CT,,", "-i", os.path.join(folder, "ca.crt"))

    def _conf(self):
        row = self.row
        ike, esp = SUITES[row.suite].libreswan
        family = "ipv6" if row.inside == 6 else "ipv4"
        authentication = [f"authby={AUTHBY[row.auth]}"]
        if row.auth != "psk":
            authentication += ["leftcert=peer", "leftsendcert=always", "rightca=%same"]
        selectors = [f"leftsubnet={BRANCH_NET[row.inside]}", f"rightsubnet={INNER_NET[row.inside]}", f"clientaddrfamily={family}"]
        # Its routes are for hosts with several ways out; the kernel's policies alone do here.
        selectors.append("leftupdown=%disabled")
        dpd = [f"dpddelay={DPD_DELAY_S}", "dpdtimeout=30", "dpdaction=clear"] if not row.tandem_asks else []
        return CONF.format(
            address=self.address, gateway=self.gateway_address, peer_id=PEER_ID, gateway_id=GATEWAY_ID,
            authentication="\n\t".join(authentication), selectors="\n\t".join(selectors), ike=ike, esp=esp,
            pfs="yes" if SUITES[row.suite].pfs else "no", fragmentation="force" if row.fragment else "yes",
            mobike="yes" if row.mobike else "no", dpd="\n\t".join(dpd)).replace("\n\t\n", "\n")

    def _path(self, name):
        return os.path.join(self.directory, name)

    def _write(self, name, text):
        with open(self._path(name), "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(text)
