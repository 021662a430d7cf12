"""The network: five hosts and a switch, each a network namespace, wired with veth pairs.

    client 192.0.2.100 ──┐ outer 192.0.2.0/24      inner 10.10.0.0/16 ┌── server 10.10.0.80
    stranger 192.0.2.66 ─┤                                            │
                         ├── 192.0.2.11  sg1  10.10.0.2 ──────────────┤
                         └── 192.0.2.12  sg2  10.10.0.3 ──────────────┘
                                  sg1 10.1.0.1 ── pair 10.1.0.0/24 ── 10.1.0.2 sg2

All three nets are bridges in the namespace `switch`, so that a cable is cut there. The gateways' default route leads to
192.0.2.1 on the outer net: what a gateway should have protected and did not would be seen there in clear.
"""

import fcntl
import os
import socket
import struct

from . import kernel
from .processes import run

OUTER_SHARED = "192.0.2.10"
INNER_SHARED = "10.10.0.1"
CLIENT = "192.0.2.100"
STRANGER = "192.0.2.66"
SERVER = "10.10.0.80"
INNER_NET = "10.10.0.0/16"
POOL_NET = "10.20.0.0/16"
#: What lies behind the stranger when the pair calls it as a site.
SITE_NET = "10.30.0.0/16"
SITE = "10.30.0.1"
NODES = ("sg1", "sg2")
OUTER = {"sg1": "192.0.2.11", "sg2": "192.0.2.12"}
INNER = {"sg1": "10.10.0.2", "sg2": "10.10.0.3"}
PAIR = {"sg1": "10.1.0.1", "sg2": "10.1.0.2"}

#: host → its interfaces as (name, bridge, addresses)
PORTS = {
    "client": [("eth0", "outer", [f"{CLIENT}/24"])],
    "stranger": [("eth0", "outer", [f"{STRANGER}/24", f"{SITE}/16"])],
    "sg1": [("eth0", "outer", ["192.0.2.11/24"]), ("eth1", "inner", ["10.10.0.2/16"]), ("eth2", "pair", ["10.1.0.1/24"])],
    "sg2": [("eth0", "outer", ["192.0.2.12/24"]), ("eth1", "inner", ["10.10.0.3/16"]), ("eth2", "pair", ["10.1.0.2/24"])],
    "server": [("eth0", "inner", [f"{SERVER}/16"])],
}
ROUTES = {
    "client": ["default via 192.0.2.1"],
    "stranger": ["default via 192.0.2.1"],
    "sg1": ["default via 192.0.2.1"],
    "sg2": ["default via 192.0.2.1"],
    "server": [f"{POOL_NET} via {INNER_SHARED}", f"{SITE_NET} via {INNER_SHARED}"],
}
BRIDGES = ("outer", "inner", "pair")
#: sysctls under /proc/sys/net for every namespace: no reverse-path filter in the way, no IPv6 chatter before an address is set.
SYSCTLS = {
    "ipv4/conf/all/rp_filter": "0", "ipv4/conf/default/rp_filter": "0",
    "ipv6/conf/all/accept_dad": "0", "ipv6/conf/default/accept_dad": "0",
    "ipv6/conf/default/addr_gen_mode": "1", "ipv6/conf/all/addr_gen_mode": "1",
}


class Network:
    """Namespaces with names of this run's own. `remove()` takes away all that `create()` made."""

    ports, routes, bridges = PORTS, ROUTES, BRIDGES
    #: An address of the switch itself, where default routes lead.
    switch_addresses = ("192.0.2.1/24 dev outer",)
    forwarders = NODES
    sysctls = SYSCTLS

    def __init__(self, prefix):
        self.prefix = prefix

    def name(self, host):
        return f"{self.prefix}-{host}"

    @property
    def hosts(self):
        return [*self.ports, "switch"]

    def create(self):
        self.batch(None, [f"netns add {self.name(host)}" for host in self.hosts])
        for host in self.hosts:
            self._set_sysctls(host)
        self.batch("switch", self._switch_lines())
        for host in self.ports:
            self.batch(host, self._host_lines(host))

    def remove(self):
        """Takes the namespaces away; interfaces go with them once the last process has left."""
        present = set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()
        lines = [f"netns del {self.name(host)}" for host in self.hosts if self.name(host) in present]
        if lines:
            self.batch(None, lines)

    def cut(self, host, bridges=BRIDGES):
        """Takes the host's cables out at the switch."""
        self._set_links(host, bridges, "down")

    def heal(self, host, bridges=BRIDGES):
        self._set_links(host, bridges, "up")

    def processes(self):
        """Ids of all processes that live in one of this run's namespaces."""
        wanted = {os.stat(f"/run/netns/{self.name(host)}").st_ino for host in self.hosts if os.path.exists(f"/run/netns/{self.name(host)}")}
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid():
                try:
                    if os.stat(f"/proc/{entry}/ns/net").st_ino in wanted:
                        found.append(int(entry))
                except OSError:
                    pass
        return found

    def hardware_address(self, host, interface):
        with kernel.inside(self.name(host)):
            return _hardware_address(interface)

    def _set_links(self, host, bridges, state):
        wanted = [f"link set dev {bridge[0]}-{host} {state}" for _, bridge, _ in self.ports[host] if bridge in bridges]
        self.batch("switch", wanted)

    def _switch_lines(self):
        lines = ["link set dev lo up"]
        for bridge in self.bridges:
            lines.append(f"link add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0")
            lines.append(f"link set dev {bridge} up")
        lines += [f"address add {address}" for address in self.switch_addresses]
        for host, ports in self.ports.items():
            for interface, bridge, _ in ports:
                lines.append(f"link add {bridge[0]}-{host} type veth peer name {interface} netns {self.name(host)}")
                lines.append(f"link set dev {bridge[0]}-{host} master {bridge} up")
        return lines

    def _host_lines(self, host):
        lines = ["link set dev lo up"]
        for interface, _, addresses in self.ports[host]:
            lines += [f"address add {address} dev {interface}" for address in addresses]
            lines.append(f"link set dev {interface} up")
        return lines + [f"route add {route}" for route in self.routes.get(host, ())]

    def _set_sysctls(self, host):
        forwarding = {"ipv4/ip_forward": "1" if host in self.forwarders else "0"}
        with kernel.inside(self.name(host)):
            for key, value in {**self.sysctls, **forwarding}.items():
                path = f"/proc/sys/net/{key}"
                if os.path.exists(path):
                    with open(path, "w") as file:
                        file.write(value)

    def batch(self, host, lines):
        """`ip -batch` in a host's namespace, or outside with None."""
        where = ["-n", self.name(host)] if host else []
        run("ip", *where, "-batch", "-", text_input="\n".join(lines) + "\n")


def _hardware_address(interface):
    """Asked of the kernel by ioctl SIOCGIFHWADDR: /sys shows only the namespace it was mounted in."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        answer = fcntl.ioctl(probe.fileno(), 0x8927, struct.pack("256s", interface.encode()))
    return answer[18:24]
