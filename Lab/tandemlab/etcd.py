"""A real etcd of one member in a namespace: the pair's witness, over TLS, with client certificates and a user."""

import base64
import json
import os
import secrets
import shutil
import ssl
import urllib.request

from . import kernel
from .namespaces import STRANGER
from .processes import LabError, Process, run, wait_until

PROGRAM = "/usr/bin/etcd"
USER = "tandem"


class Etcd:
    """In the stranger's namespace, where both gateways reach it over the outer net."""

    url = f"https://{STRANGER}:2379"
    #: All that the gateways' user may touch.
    key = "tandem/lab"

    def __init__(self, lab):
        if not shutil.which(PROGRAM):
            raise LabError("packages are missing: apt install etcd-server")
        self.lab, self.process, self._token = lab, None, None
        self.directory = os.path.join(lab.directory, "etcd")
        self.files = os.path.join(lab.directory, "etcd-tls")
        os.makedirs(self.files, mode=0o700)
        self.passwords = {name: secrets.token_hex(16) for name in ("root", USER)}
        self._make_certificates()
        with open(self.file("password"), "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(self.passwords[USER] + "\n")
        lab.at_end(self.stop)

    def file(self, name):
        return os.path.join(self.files, name)

    @property
    def section(self):
        """Of a gateway's configuration."""
        return (
            f'\n[witness]\nendpoints = ["{self.url}"]\nkey = "{self.key}"\nca = "{self.file("ca.crt")}"\n'
            f'certificate = "{self.file("gateway.crt")}"\nprivate_key = "{self.file("gateway.key")}"\n'
            f'username = "{USER}"\npassword_file = "{self.file("password")}"\n')

    def start(self):
        """Starts it, with what it had, and waits until it serves."""
        first = not os.path.exists(self.directory)
        self.process = Process(
            "etcd",
            [PROGRAM, "--data-dir", self.directory, "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
             "--cert-file", self.file("etcd.crt"), "--key-file", self.file("etcd.key"), "--client-cert-auth",
             "--trusted-ca-file", self.file("ca.crt"),
             "--listen-peer-urls", "http://127.0.0.1:2380", "--initial-advertise-peer-urls", "http://127.0.0.1:2380",
             "--initial-cluster", "default=http://127.0.0.1:2380"],
            network=self.lab.network.name("stranger"), environment={"ETCD_UNSUPPORTED_ARCH": "arm64"},
            log=os.path.join(self.lab.directory, "etcd.log"))
        self._token = None
        if first:
            wait_until("etcd serves", lambda: self._range() is not None, timeout=20)
            self._add_users()
        wait_until("etcd serves", lambda: self.claims() is not None, timeout=20)

    def claims(self):
        """The values of all keys; None when it does not answer."""
        if not self._token:
            answer = self._ask("auth/authenticate", {"name": "root", "password": self.passwords["root"]})
            self._token = answer and answer["token"]
        return self._range()

    def stop(self):
        if self.process:
            self.process.kill()
            self.process = None

    def _range(self):
        found = self._ask("kv/range", {"key": "AA==", "range_end": "AA=="})
        return None if found is None else [entry["value"] for entry in found.get("kvs", [])]

    def _add_users(self):
        """Root, and the gateways' with nothing but their key."""
        permission = {"permType": "READWRITE", "key": _base64(self.key)}
        for what, body in [
            ("auth/role/add", {"name": "root"}), ("auth/role/add", {"name": USER}), ("auth/role/grant", {"name": USER, "perm": permission}),
            *(("auth/user/add", {"name": name, "password": password}) for name, password in self.passwords.items()),
            *(("auth/user/grant", {"user": name, "role": name}) for name in self.passwords), ("auth/enable", {})]:
            if self._ask(what, body) is None:
                raise LabError(f"etcd: {what} failed")

    def _ask(self, what, body):
        """The answer; None without one."""
        context = ssl.create_default_context(cafile=self.file("ca.crt"))
        context.load_cert_chain(self.file("gateway.crt"), self.file("gateway.key"))
        headers = {"Content-Type": "application/json", **({"Authorization": self._token} if self._token else {})}
        try:
            with kernel.inside(self.lab.network.name("stranger")):
                request = urllib.request.Request(f"{self.url}/v3/{what}", json.dumps(body).encode(), headers)
                with urllib.request.urlopen(request, timeout=2.0, context=context) as answer:
                    return json.load(answer)
        except OSError:
            return None

    def _make_certificates(self):
        """An authority, and what it signed for the server and for the gateways."""
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
        run("openssl", "req", "-x509", *key, "-subj", "/CN=lab authority", "-keyout", self.file("ca.key"), "-out", self.file("ca.crt"))
        for name, usage in (("etcd", "serverAuth,clientAuth"), ("gateway", "clientAuth")):
            # Without a common name: with one etcd takes what comes by its JSON gateway for a user of that name.
            run("openssl", "req", "-x509", *key, "-subj", f"/O={name}", "-CA", self.file("ca.crt"), "-CAkey", self.file("ca.key"),
                "-addext", "basicConstraints=critical,CA:FALSE", "-addext", f"subjectAltName=IP:{STRANGER}",
                "-addext", f"extendedKeyUsage={usage}", "-keyout", self.file(f"{name}.key"), "-out", self.file(f"{name}.crt"))
            os.chmod(self.file(f"{name}.key"), 0o600)


def _base64(text):
    return base64.b64encode(text.encode()).decode()
