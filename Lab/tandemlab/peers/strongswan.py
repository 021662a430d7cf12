"""Debian's strongSwan as the peer: a branch's gateway or a road warrior."""

import os
import shutil

from ..interop.configuration import DPD_DELAY_S, FRAGMENT_SIZE
from ..interop.credentials import GATEWAY_ID, PEER_ID, PRE_SHARED_KEY
from ..interop.network import BRANCH, BRANCH_NET, INNER_NET
from ..interop.suites import SUITES
from ..strongswan import Charon
from .base import Peer

CONF = """\
connections {{ peer {{
    version = 2
    {local_addrs}
    remote_addrs = {gateway}
    proposals = {ike}
    dpd_delay = {dpd}s
    rekey_time = 0
    mobike = {mobike}
    fragmentation = {fragmentation}
    {vips}
    local {{ auth = {auth}
        id = {peer_id}
        {certs} }}
    remote {{ auth = {auth}
        id = {gateway_id}
        {cacerts} }}
    children {{ net {{
        {local_ts}
        remote_ts = {remote_ts}
        esp_proposals = {esp}
        rekey_time = 0
    }} }}
}} }}
secrets {{ ike-peer {{
    id-own = {peer_id}
    id-gw = {gateway_id}
    secret = "{secret}"
}} }}
"""


class StrongSwan(Peer):
    kind = "strongswan"

    def start(self):
        # Its default keeps a rekeyed CHILD SA five seconds longer.
        extra = "    delete_rekeyed_delay = 1\n" + (f"    fragment_size = {FRAGMENT_SIZE}\n" if self.row.fragment else "")
        self.charon = Charon(self.network, "peer", self.bench.row_directory, self._conf(), "kernel-netlink", extra)
        if self.row.auth != "psk":
            self._install(self.bench.credentials.of(self.row.auth))
        self.charon.start()
        self.process = self.charon.process

    def initiate(self):
        self.charon.ask("initiate", {"child": "net", "timeout": -1})

    def rekey_ike(self):
        self.charon.rekey_ike("peer")

    def rekey_child(self):
        self.charon.rekey_child("net")

    def delete(self):
        self.charon.ask("terminate", {"ike": "peer", "timeout": "-1"})

    def ike_associations(self):
        established = [sa for _, sa in self.charon.associations() if sa["state"] == "ESTABLISHED"]
        return [(sa["initiator-spi"], sa["responder-spi"]) for sa in sorted(established, key=lambda sa: int(sa["uniqueid"]))]

    def inner_address(self):
        if not self.row.client:
            return BRANCH[self.row.inside]
        return next(sa["local-vips"][0] for _, sa in self.charon.associations() if sa.get("local-vips"))

    def _install(self, folder):
        for name, place in (("peer.crt", "x509"), ("ca.crt", "x509ca"), ("peer.key", "private")):
            target = os.path.join(self.charon.directory, "swanctl", place)
            os.makedirs(target, exist_ok=True)
            shutil.copy(os.path.join(folder, name), target)

    def _conf(self):
        row = self.row
        ike, esp = SUITES[row.suite].swanctl
        pubkey = row.auth != "psk"
        return CONF.format(
            # An address that is named is the only one: no MOBIKE then.
            local_addrs="" if row.mobike else f"local_addrs = {self.address}", gateway=self.gateway_address, ike=ike, esp=esp,
            dpd=0 if row.tandem_asks else DPD_DELAY_S, mobike="yes" if row.mobike else "no",
            fragmentation="force" if row.fragment else "yes", vips=f"vips = {'0.0.0.0' if row.inside == 4 else '::'}" if row.client else "",
            auth="pubkey" if pubkey else "psk", peer_id=PEER_ID, gateway_id=GATEWAY_ID, secret=PRE_SHARED_KEY,
            certs="certs = peer.crt" if pubkey else "", cacerts="cacerts = ca.crt" if pubkey else "",
            local_ts="" if row.client else f"local_ts = {BRANCH_NET[row.inside]}", remote_ts=INNER_NET[row.inside])
