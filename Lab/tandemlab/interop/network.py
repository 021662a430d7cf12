"""The network of the interoperability matrix: the pair, one peer with a network behind it, and a NAT that it may sit behind.

    peer 192.0.2.100, 2001:db8:2::100 ─────────────┐ outer              inner ┌── server 10.10.0.80, fd00:10::80
      │ 10.30.0.1, fd00:30::1 on itself            ├── sg1 192.0.2.11 ────────┤
      └ 192.168.7.100 ── home ── 192.168.7.1 nat ──┤                          │
                                  192.0.2.99       └── sg2 192.0.2.12 ────────┘

Shared: 192.0.2.10 and 2001:db8:2::10 outside, 10.10.0.1 and fd00:10::1 inside. The hosts stay for all rows; what a row changes is
put back by `arrange`.
"""

from .. import kernel
from ..namespaces import SYSCTLS, Network
from ..processes import run, wait_until

#: What differs between the address families, by version.
OUTER_SHARED = {4: "192.0.2.10", 6: "2001:db8:2::10"}
PEER = {4: "192.0.2.100", 6: "2001:db8:2::100"}
#: Where the peer moves to.
PEER_MOVED = {4: "192.0.2.101", 6: "2001:db8:2::101"}
OUTER_LENGTH = {4: 24, 6: 64}
OUTER_ROUTER = {4: "192.0.2.1", 6: "2001:db8:2::1"}
PEER_BEHIND_NAT = "192.168.7.100"
NAT_OUTSIDE = "192.0.2.99"
SERVER = {4: "10.10.0.80", 6: "fd00:10::80"}
INNER_SHARED = {4: "10.10.0.1", 6: "fd00:10::1"}
INNER_NET = {4: "10.10.0.0/16", 6: "fd00:10::/64"}
INNER_LENGTH = {4: 16, 6: 64}
BRANCH = {4: "10.30.0.1", 6: "fd00:30::1"}
BRANCH_NET = {4: "10.30.0.0/16", 6: "fd00:30::/64"}
POOL_NET = {4: "10.20.0.0/16", 6: "fd00:20::/112"}
#: Enough for two requests to cross on the way (seconds).
CROSSING_DELAY_MS = 300

#: The ESP algorithms of the suites, as `ip xfrm state add` has them.
_KEY = {bits: "0x" + "42" * (bits // 8) for bits in (128, 256, 160, 288, 384, 512)}
KERNEL_ALGORITHMS = (
    f"aead rfc4106(gcm(aes)) {_KEY[160]} 128", f"aead rfc7539esp(chacha20,poly1305) {_KEY[288]} 128",
    *(f"enc cbc(aes) {_KEY[128]} auth-trunc hmac(sha{bits}) {_KEY[bits]} {bits // 2}" for bits in (256, 384, 512)),
)


class InteropNetwork(Network):
    """Made once; `arrange(row)` makes it what a row needs."""

    ports = {
        "peer": [("eth0", "outer", []), ("eth1", "home", [f"{PEER_BEHIND_NAT}/24"])],
        "nat": [("eth0", "outer", [f"{NAT_OUTSIDE}/24"]), ("eth1", "home", ["192.168.7.1/24"])],
        "sg1": [
            ("eth0", "outer", ["192.0.2.11/24", "2001:db8:2::11/64"]), ("eth1", "inner", ["10.10.0.2/16", "fd00:10::2/64"]),
            ("eth2", "pair", ["10.1.0.1/24"])],
        "sg2": [
            ("eth0", "outer", ["192.0.2.12/24", "2001:db8:2::12/64"]), ("eth1", "inner", ["10.10.0.3/16", "fd00:10::3/64"]),
            ("eth2", "pair", ["10.1.0.2/24"])],
        "server": [("eth0", "inner", ["10.10.0.80/16", "fd00:10::80/64"])],
    }
    routes = {
        "nat": ["default via 192.0.2.1"],
        **{node: ["default via 192.0.2.1", "default via 2001:db8:2::1"] for node in ("sg1", "sg2")},
        "server": [f"{net[version]} via {INNER_SHARED[version]}" for net in (POOL_NET, BRANCH_NET) for version in (4, 6)],
    }
    bridges = ("outer", "inner", "pair", "home")
    switch_addresses = ("192.0.2.1/24 dev outer", "2001:db8:2::1/64 dev outer")
    forwarders = ("sg1", "sg2", "nat")
    #: A router without a link-local address cannot ask for the neighbours of what it forwards.
    sysctls = {**SYSCTLS, "ipv6/conf/default/addr_gen_mode": "0", "ipv6/conf/all/addr_gen_mode": "0"}

    def create(self):
        super().create()
        for host in ("sg1", "sg2"):
            with kernel.inside(self.name(host)), open("/proc/sys/net/ipv6/conf/all/forwarding", "w") as file:
                file.write("1")
        # nft has no chains of type nat in User-Mode Linux.
        run("iptables-legacy", "-t", "nat", "-A", "POSTROUTING", "-o", "eth0", "-j", "MASQUERADE", network=self.name("nat"))
        self.batch("peer", [f"address add {BRANCH[4]}/16 dev lo", f"address add {BRANCH[6]}/64 dev lo"])

    def warm_up(self):
        """Makes the kernel look for every algorithm once: in User-Mode Linux that is a second for each, in which nothing else runs."""
        lines = []
        for number, algorithms in enumerate(KERNEL_ALGORITHMS, 1):
            for esn in ("", " replay-window 32 flag esn"):
                one = f"src 192.0.2.1 dst 192.0.2.2 proto esp spi {0x1000 + number}"
                lines += [f"xfrm state add {one} mode tunnel{esn} {algorithms}", f"xfrm state del {one}"]
        self.batch("peer", lines)

    def arrange(self, row):
        """The peer at its first address, or behind the NAT; nothing of the last row's SAs anywhere."""
        for host in ("peer", "sg1", "sg2"):
            self.batch(host, ["xfrm state flush", "xfrm policy flush"])
        lines = ["address flush dev eth0", "address flush dev eth1", "link set dev eth0 up", "link set dev eth1 up"]
        if row.nat:
            lines += ["link set dev eth0 down", f"address add {PEER_BEHIND_NAT}/24 dev eth1", "route replace default via 192.168.7.1"]
        else:
            lines += ["link set dev eth1 down"]
            for version in (4, 6):
                lines += self._at(PEER[version], version)
        self.batch("peer", lines)
        if row.outside == 6:
            self._wait_address("peer", PEER[6])

    def peer_address(self, row):
        """The peer's own address, as it knows it."""
        return PEER_BEHIND_NAT if row.nat else PEER[row.outside]

    def move_peer(self, version):
        """The peer loses its address and gets another; returns that."""
        moved = PEER_MOVED[version]
        self.batch("peer", [f"address del {PEER[version]}/{OUTER_LENGTH[version]} dev eth0", *self._at(moved, version)])
        return moved

    def delay(self, milliseconds):
        """Holds every packet between the peer and the others up, both ways; 0 ends it."""
        for host, device in (("switch", "o-peer"), ("peer", "eth0"), ("peer", "eth1")):
            command = ["tc", "qdisc", "replace" if milliseconds else "del", "dev", device, "root"]
            run(*command, *(["netem", "delay", f"{milliseconds}ms"] if milliseconds else []), network=self.name(host), check=False)

    def _at(self, address, version):
        nodad = " nodad" if version == 6 else ""
        return [
            f"address add {address}/{OUTER_LENGTH[version]} dev eth0{nodad}",
            f"route replace default via {OUTER_ROUTER[version]}"]

    def _wait_address(self, host, address):
        wait_until(
            f"{host} has {address}", lambda: f"{address}/" in run("ip", "-n", self.name(host), "-6", "-brief", "address").stdout, 5)


