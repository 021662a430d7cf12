"""A client that is a Tandem itself: it calls a gateway, and protects one address behind it."""

import os

from .gateway import Gateway
from .namespaces import CLIENT
from .processes import run
from .strongswan import PRE_SHARED_KEY

#: The client's end of the tunnel, and what gateways are to let in.
BEHIND, BEHIND_NET = "10.20.9.1", "10.20.9.0/24"

CONFIGURATION = """\
[node]
name = "client"
id = 0

[runtime]
directory = "run"
control_socket = "{socket}"

[dataplane]
kind = "{dataplane}"

[connections.gate]
local_addrs = ["{client}"]
remote_addrs = ["{gateway}"]
local = {{ auth = "psk", id = "anna@example.net" }}
remote = {{ auth = "psk", id = "gw.example.net" }}

[connections.gate.children.net]
local_ts = ["{behind}/32"]
remote_ts = ["10.10.0.0/16"]
esp_proposals = ["default"]

[secrets.road]
ids = ["gw.example.net", "anna@example.net"]
file = "road.psk"
"""


def admitting(template):
    """A gateway's configuration whose connection `road` hands out no addresses, and lets the caller in with its own."""
    text = template.replace('pools = ["road"]\n', "").split("[pools.road]")[0]
    return text.replace('esp_proposals = ["default"]', f'remote_ts = ["{BEHIND_NET}"]\nesp_proposals = ["default"]', 1)


class Caller(Gateway):
    """In the namespace `client`; ends with the laboratory."""

    def __init__(self, lab, gateway, folder=None):
        self.network, self.name, self.build = lab.network, "client", lab.settings.build
        self.directory = os.path.join(folder or lab.directory, self.name)
        self.socket = os.path.join(self.directory, "tandem.vici")
        self.configuration_path = os.path.join(self.directory, "tandem.toml")
        self.process = None
        os.makedirs(self.directory, exist_ok=True)
        self.write("road.psk", PRE_SHARED_KEY + "\n", mode=0o600)
        self.write("tandem.toml", CONFIGURATION.format(
            socket=self.socket, dataplane=lab.settings.dataplane, client=CLIENT, gateway=gateway, behind=BEHIND))

    def add_address(self):
        run("ip", "-n", self.network.name("client"), "address", "add", f"{BEHIND}/32", "dev", "lo")

    def remove_address(self):
        run("ip", "-n", self.network.name("client"), "address", "del", f"{BEHIND}/32", "dev", "lo")
