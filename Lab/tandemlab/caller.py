"""A client that is a Tandem itself: it calls a gateway, and protects one address behind it."""

from .gateway import HEAD, Gateway
from .namespaces import CLIENT
from .processes import run

#: The client's end of the tunnel, and what gateways are to let in.
BEHIND, BEHIND_NET = "10.20.9.1", "10.20.9.0/24"

CONFIGURATION = HEAD + """\
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
        self.called = gateway
        super().__init__(lab.network, "client", folder or lab.directory, lab.settings.build, lab.settings.dataplane)

    def configure(self, template=CONFIGURATION):
        self.write("tandem.toml", template.format(
            name=self.name, id=0, socket=self.socket, dataplane=self.dataplane, client=CLIENT, gateway=self.called, behind=BEHIND))

    def add_address(self):
        run("ip", "-n", self.network.name("client"), "address", "add", f"{BEHIND}/32", "dev", "lo")

    def remove_address(self):
        run("ip", "-n", self.network.name("client"), "address", "del", f"{BEHIND}/32", "dev", "lo")
