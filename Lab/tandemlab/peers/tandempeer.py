"""A third Tandem, alone, as the peer."""

import os
import threading

from ..interop.configuration import CHILD, CONNECTION, peer_configuration
from ..interop.credentials import PRE_SHARED_KEY
from ..interop.network import BRANCH
from ..processes import LabError, Process, wait_until
from ..vici import Vici, ViciError
from .base import Peer


class TandemPeer(Peer):
    kind = "tandem"

    @classmethod
    def lacks(cls, row):
        return "Tandem does not ask a gateway for an address" if row.client else None

    def start(self):
        self.directory = os.path.join(self.bench.row_directory, "peer")
        self.socket = os.path.join(self.directory, "tandem.vici")
        os.makedirs(self.directory)
        configuration = peer_configuration(self.row, self.bench.credentials, self.address, self.socket)
        for name, text in (("road.psk", PRE_SHARED_KEY + "\n"), ("tandem.toml", configuration)):
            with open(self._path(name), "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(text)
        self.process = Process(
            "peer", [os.path.join(self.bench.build, "tandemd"), "--config", self._path("tandem.toml")],
            network=self.network.name("peer"), private=True, log=self._path("tandemd.log"))
        wait_until("the peer's control socket", self._answers, 20)

    def initiate(self):
        threading.Thread(target=self._ask, args=("initiate", {"child": CHILD}), daemon=True).start()

    def rekey_ike(self):
        self._ask("rekey", {"ike": CONNECTION})

    def rekey_child(self):
        self._ask("rekey", {"child": CHILD})

    def delete(self):
        self._ask("terminate", {"ike": CONNECTION})

    def ike_associations(self):
        with Vici(self.socket) as vici:
            shown = [sa for event in vici.stream("list-sas", "list-sa") for sa in event.values()]
        return [(sa["initiator-spi"], sa["responder-spi"]) for sa in shown if sa["state"] == "ESTABLISHED"]

    def inner_address(self):
        return BRANCH[self.row.inside]

    def _answers(self):
        if not self.process.alive:
            raise LabError(f"the peer's tandemd ended with {self.process.exit_code}\n{self.process.tail(30)}")
        try:
            return self._ask("version")
        except (OSError, ViciError):
            return False

    def _ask(self, command, message=None):
        with Vici(self.socket, 15.0) as vici:
            return vici.request(command, message)

    def _path(self, name):
        return os.path.join(self.directory, name)
