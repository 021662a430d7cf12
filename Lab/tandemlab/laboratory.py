"""The whole of it: network, pair, client, traffic and recording, and the way back to a clean machine."""

import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass

from . import prerequisites
from .capture import Recorder
from .download import Download
from .gateway import Pair
from .leaks import Leaks
from .namespaces import OUTER_SHARED, SERVER, Network
from .probes import ProbePair
from .processes import LabError
from .strongswan import Charon, road_conf

#: An address of the pool that no client has: what the server sends there must never be seen outside.
BAIT = "10.20.99.99"


@dataclass
class Settings:
    """What differs between the host's lab and the kernel lab."""

    build: str
    #: How the client does ESP: kernel-libipsec, or kernel-netlink where the kernel has ESP.
    client_kernel: str = "kernel-libipsec"
    #: `dataplane.kind` of both gateways.
    dataplane: str = "auto"
    #: `pair.heartbeat.interval`; None leaves it at its default.
    heartbeat: str | None = None
    #: Keep the run's folder (logs, recording) instead of removing it.
    keep: bool = False


class Laboratory:
    """A context: what is inside runs with namespaces of its own, and nothing of it is left afterwards, whatever happens."""

    def __init__(self, settings):
        prerequisites.check(settings.build)
        self.settings = settings
        self.directory = tempfile.mkdtemp(prefix="tandem-lab-")
        self.network = Network(f"tandem{secrets.token_hex(2)}")
        self.pair = self.client = self.stranger = self.download = self.probes = self.recorder = None
        self.left_behind = []
        self.leaks = Leaks(self.directory)
        self._ends = []
        self._signals = {}

    def __enter__(self):
        # An ordered end: the second signal is not waited for.
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._signals[number] = signal.signal(number, _interrupt)
        try:
            self.network.create()
            self.recorder = Recorder(self.network, self.directory)
            self._ends.append(self.recorder.stop)
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind, *_):
        try:
            if kind and issubclass(kind, LabError):
                self._show_logs()
            for end in reversed(self._ends):
                _attempt(end)
            self._end_remaining()
        finally:
            _attempt(self.network.remove)
            if self.settings.keep or (kind and kind is not KeyboardInterrupt and os.environ.get("TANDEM_LAB_KEEP")):
                print(f"kept: {self.directory}")
            else:
                shutil.rmtree(self.directory, ignore_errors=True)
            for number, handler in self._signals.items():
                signal.signal(number, handler)

    def at_end(self, action):
        """Has something that a trial started ended with the laboratory."""
        self._ends.append(action)

    def start_pair(self, template=None, own_clocks=False):
        """Both gateways up and paired, with another configuration if one is given; returns (active, standby)."""
        self.pair = Pair(self.network, self.directory, self.settings.build, self.settings.dataplane, self.settings.heartbeat)
        for node in self.pair.nodes.values():
            if template:
                node.configure(template)
            if own_clocks:
                node.own_clock()
        self._ends.append(self.pair.stop)
        self.pair.start()
        return self.pair.wait_paired()

    def start_client(self, conf=None):
        """The stock client, connected; returns the proof of its tunnel."""
        self.client = Charon(self.network, "client", self.directory, conf or road_conf(OUTER_SHARED), self.settings.client_kernel)
        self._ends.append(self.client.stop)
        self.client.start()
        self.client.initiate("net")
        return self.client.proof()

    def start_stranger(self, conf):
        """A second stock charon, at another address, for what must be refused."""
        self.stranger = Charon(self.network, "stranger", self.directory, conf, self.settings.client_kernel)
        self._ends.append(self.stranger.stop)
        self.stranger.start()
        return self.stranger

    def start_probes(self, rate=100):
        self.probes = ProbePair(self.network, self.directory, self.client.proof().virtual_address, SERVER, rate, bait=BAIT)
        self._ends.append(self.probes.stop)
        self.probes.wait_flowing(time.monotonic())

    def start_download(self, rate, wanted):
        self.download = Download(self.network, self.directory, self.client.proof().virtual_address, SERVER, rate, wanted)
        self._ends.append(self.download.stop)

    def end_all(self):
        """Ends every program, so that what is left behind can be seen before the namespaces go."""
        for end in reversed(self._ends):
            _attempt(end)
        self._ends.clear()
        self.left_behind = _settled(self.network.processes)

    def _show_logs(self):
        """What the gateways said last, before it is thrown away."""
        for gateway in self.pair.nodes.values() if self.pair else []:
            if gateway.process:
                print(gateway.process.tail(25), file=sys.stderr)

    def _end_remaining(self):
        """Whatever still lives in our own namespaces was started by what we started."""
        for pid in self.network.processes():
            _attempt(lambda: os.kill(pid, signal.SIGKILL))


def _settled(processes, seconds=2.0):
    """The processes that are still there after a moment: a guard may outlive its daemon by its last act."""
    deadline = time.monotonic() + seconds
    while (left := processes()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _attempt(action):
    try:
        action()
    except (LabError, OSError, ValueError) as error:
        print(f"while cleaning up: {error}", file=sys.stderr)


def _interrupt(*_):
    raise KeyboardInterrupt
