"""The pair, the network and all that a row's peer needs, kept for all rows of a run."""

import os
import secrets
import shutil
import signal
import tempfile

from ..gateway import Pair
from ..processes import LabError
from .configuration import pair_template
from .credentials import PRE_SHARED_KEY, Credentials
from .echo import Echo
from .network import SERVER, InteropNetwork
from .watch import Watch


#: What is kept of a row that failed.
KEPT = (".log", ".out", ".conf", ".toml", ".pcap")


class Bench:
    """A context: nothing of it is left afterwards."""

    def __init__(self, build, heartbeat):
        self.build, self.heartbeat = build, heartbeat
        self.directory = tempfile.mkdtemp(prefix="tandem-interop-")
        self.network = InteropNetwork(f"tandem{secrets.token_hex(2)}")
        self.credentials = Credentials(os.path.join(self.directory, "credentials"))
        self.pair = self.watch = self.echo = self.row_directory = None
        self._inner = None

    def __enter__(self):
        self.network.create()
        self.network.warm_up()
        self.watch = Watch(self.network)
        self.pair = Pair(self.network, self.directory, self.build, "kernel", self.heartbeat)
        for gateway in self.pair.nodes.values():
            gateway.write("road.psk", PRE_SHARED_KEY + "\n", mode=0o600)
        return self

    def __exit__(self, *_):
        self.stop_gateways()
        for pid in self.network.processes():
            _kill(pid)
        self.network.remove()
        self.watch.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def begin(self, row):
        """A clean network, and gateways that start with this row's configuration."""
        self.row_directory = os.path.join(self.directory, "row")
        shutil.rmtree(self.row_directory, ignore_errors=True)
        os.makedirs(self.row_directory)
        self.network.arrange(row)
        self.watch.begin(os.path.join(self.row_directory, "ike.pcap"))
        self._inner = row.inside
        for gateway in self.pair.nodes.values():
            log = os.path.join(gateway.directory, "tandemd.log")
            if os.path.exists(log):
                os.unlink(log)
            gateway.configure(pair_template(row, self.credentials))
        self.pair.start()

    def end(self, peer):
        if self.echo:
            self.echo.close()
            self.echo = None
        peer.stop()
        self.stop_gateways()
        for pid in self.network.processes():
            _kill(pid)

    def open_echo(self, inner_address):
        if self.echo:
            self.echo.close()
        self.echo = Echo(self.network, SERVER[self._inner], inner_address)

    def stop_gateways(self):
        running = [gateway for gateway in (self.pair.nodes.values() if self.pair else ()) if gateway.process]
        for gateway in running:
            gateway.process.send_signal(signal.SIGTERM)
        for gateway in running:
            try:
                gateway.stop()
            except (LabError, OSError, ValueError) as error:
                print(f"while cleaning up: {error}")
            gateway.process = None

    def keep_logs(self, folder):
        """Copies what a row's programs wrote, and how they were configured; no keys."""
        os.makedirs(folder, exist_ok=True)
        self.watch.begin(None)
        for place, _, names in os.walk(self.row_directory):
            for name in names:
                if os.path.splitext(name)[1] in KEPT:
                    shutil.copy(os.path.join(place, name), folder)
        for gateway in self.pair.nodes.values():
            for name in ("tandemd.log", "tandem.toml"):
                path = os.path.join(gateway.directory, name)
                if os.path.exists(path):
                    shutil.copy(path, os.path.join(folder, f"{gateway.name}-{name}"))


def _kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
