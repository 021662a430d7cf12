"""Keys and certificates for the rows, made with the openssl command: for each kind an authority, the gateway's and the peer's."""

import os

from ..processes import run

GATEWAY_ID, PEER_ID = "gw.example.net", "peer.example.net"
PRE_SHARED_KEY = "correct horse battery staple"
#: kind → (the authority's key, an end's key), as openssl's options
KEYS = {
    "rsa": (["-newkey", "rsa:3072"], ["-newkey", "rsa:3072"]),
    "ecdsa": (["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"], ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    "ecdsa384": (["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"], ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"]),
    "ed25519": (["-newkey", "ed25519"], ["-newkey", "ed25519"]),
}
DAYS = "30"


class Credentials:
    """Makes each kind when it is first asked for."""

    def __init__(self, directory):
        self.directory = directory
        self._made = {}

    def of(self, kind):
        """The folder with ca.crt, gw.crt, gw.key, peer.crt, peer.key and peer.p12 (password `lab`) of a kind."""
        if kind not in self._made:
            self._made[kind] = self._make(os.path.join(self.directory, kind), *KEYS[kind])
        return self._made[kind]

    def _make(self, folder, authority, end):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        path = lambda name: os.path.join(folder, name)  # noqa: E731
        common = ["openssl", "req", "-x509", "-noenc", "-days", DAYS]
        run(*common, *authority, "-keyout", path("ca.key"), "-out", path("ca.crt"), "-subj", "/O=Tandem Lab/CN=Lab authority",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        for name, identity in (("gw", GATEWAY_ID), ("peer", PEER_ID)):
            run(*common, *end, "-keyout", path(f"{name}.key"), "-out", path(f"{name}.crt"), "-subj", f"/O=Tandem Lab/CN={identity}",
                "-CA", path("ca.crt"), "-CAkey", path("ca.key"), "-addext", f"subjectAltName=DNS:{identity}",
                "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "keyUsage=critical,digitalSignature",
                "-addext", "extendedKeyUsage=serverAuth,clientAuth")
            os.chmod(path(f"{name}.key"), 0o600)
        run("openssl", "pkcs12", "-export", "-name", "peer", "-inkey", path("peer.key"), "-in", path("peer.crt"), "-certfile",
            path("ca.crt"), "-passout", "pass:lab", "-out", path("peer.p12"))
        return folder
