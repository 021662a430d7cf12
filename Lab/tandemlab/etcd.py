"""A real etcd of one member in a namespace: the pair's witness."""

import json
import os
import shutil
import urllib.request

from . import kernel
from .namespaces import STRANGER
from .processes import LabError, Process, wait_until

PROGRAM = "/usr/bin/etcd"


class Etcd:
    """In the stranger's namespace, where both gateways reach it over the outer net."""

    url = f"http://{STRANGER}:2379"

    def __init__(self, lab):
        if not shutil.which(PROGRAM):
            raise LabError("packages are missing: apt install etcd-server")
        self.lab, self.process = lab, None
        self.directory = os.path.join(lab.directory, "etcd")
        lab.at_end(self.stop)

    def start(self):
        """Starts it, with what it had, and waits until it serves."""
        self.process = Process(
            "etcd",
            [PROGRAM, "--data-dir", self.directory, "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
             "--listen-peer-urls", "http://127.0.0.1:2380", "--initial-advertise-peer-urls", "http://127.0.0.1:2380",
             "--initial-cluster", "default=http://127.0.0.1:2380"],
            network=self.lab.network.name("stranger"), environment={"ETCD_UNSUPPORTED_ARCH": "arm64"},
            log=os.path.join(self.lab.directory, "etcd.log"))
        wait_until("etcd serves", lambda: self.claims() is not None, timeout=20)

    def claims(self):
        """The values of all keys; None when it does not answer."""
        body = json.dumps({"key": "AA==", "range_end": "AA=="}).encode()
        try:
            with kernel.inside(self.lab.network.name("stranger")):
                request = urllib.request.Request(f"{self.url}/v3/kv/range", body, {"Content-Type": "application/json"})
                with urllib.request.urlopen(request, timeout=2.0) as answer:
                    found = json.load(answer)
        except OSError:
            return None
        return [entry["value"] for entry in found.get("kvs", [])]

    def stop(self):
        if self.process:
            self.process.kill()
            self.process = None
