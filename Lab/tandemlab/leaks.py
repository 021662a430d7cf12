"""No key in any log: what the gateways say of themselves is searched for every key that they had."""

import base64
import hashlib
import hmac
import json
import os
import re
import subprocess

from .processes import LabError, run
from .vici import ViciError

#: Octets of a key that are looked for at its head and at its tail: as few as cannot be there by accident.
PIECE = 12
#: Members of a context document that are keys: every text below "keys", and these.
SECRET_MEMBERS = ("private_value",)


class Leaks:
    """The keys of a laboratory, gathered while they are in use, and where they must not be found."""

    def __init__(self, directory):
        self.directory = directory
        self.keys = {}  # octets → what they are
        self.texts = {}  # where → text

    def collect(self, gateway):
        """The keys of all sessions that the gateway owns now, and what it says to operators."""
        if not gateway.process or not gateway.process.alive:
            return
        try:
            sessions = json.loads(gateway.command("sessions", "--json").stdout)["sessions"]
            for arguments in (("status",), ("status", "--json"), ("events", "--json"), ("sessions", "--json")):
                said = gateway.command(*arguments).stdout
                where = f"{gateway.name}: tandem {' '.join(arguments)}"
                self.texts[where] = self.texts.get(where, "") + said
            for session in sessions:
                got = gateway.command("get", session["session_id"], "-o", "-", check=False)
                if got.returncode == 0:
                    self._take(json.loads(got.stdout), f"a session of {gateway.name}")
        except (LabError, OSError, ViciError, ValueError, KeyError) as error:
            print(f"  keys of {gateway.name} not gathered: {error}", flush=True)

    def collect_files(self):
        """Keys that stand in files: pre-shared ones, the pair's, and contexts that a trial took out."""
        for folder, _, names in os.walk(self.directory):
            for name in names:
                path = os.path.join(folder, name)
                if name.endswith(".psk"):
                    self._add(_read(path).strip(), name)
                elif re.search(r"\.key(\.next)?$", name):
                    self._add_private(path)
                elif name.endswith(".json"):
                    self._take_file(path)
        self._add_pair_secrets()

    def _take_file(self, path):
        try:
            self._take(json.loads(_read(path)), os.path.basename(path))
        except ValueError:
            pass

    def _take(self, value, what, inside=False):
        """Every key below `value`, a part of a context document."""
        if isinstance(value, dict):
            for name, item in value.items():
                self._take(item, f"{what}, {name}", inside or name == "keys" or name in SECRET_MEMBERS)
        elif isinstance(value, list):
            for item in value:
                self._take(item, what, inside)
        elif inside and isinstance(value, str):
            self._add(bytes.fromhex(value), what)

    def _add(self, key, what):
        if len(key) >= 8:
            self.keys.setdefault(bytes(key), what)

    def _add_private(self, path):
        """The private value of a P-256 key (RFC 5915), as it stands in PKCS #8."""
        lines = [line for line in _read(path).decode("ascii", "replace").splitlines() if line and not line.startswith("-----")]
        try:
            der = base64.b64decode("".join(lines))
        except ValueError:
            return
        at = der.find(bytes.fromhex("0201010420"))
        if at >= 0:
            self._add(der[at + 5 : at + 37], os.path.basename(path))

    def _add_pair_secrets(self):
        """What both nodes compute from their keys: the Diffie-Hellman value, the pair's secret, the heartbeats' key."""
        found = {}
        for folder, _, names in os.walk(self.directory):
            for name in names:
                if name.endswith(".key") and os.path.basename(folder) == "pair":
                    found.setdefault(name, os.path.join(folder, name))
        paths = list(found.values())
        if len(paths) != 2:
            return
        points = sorted(_point(path) for path in paths)
        shared = _agree(*paths)
        secret = _hkdf(shared, b"tandem pair v1" + points[0] + points[1])
        for key, what in ((shared, "the pair's Diffie-Hellman value"), (secret, "the pair's secret"),
                          (_hkdf(secret, b"tandem heartbeat v1"), "the heartbeats' key")):
            self._add(key, what)

    def search(self):
        """(what, where) of every key that is found where it must not be."""
        return [(what, where) for where, text in self._searched() for what in found_in(text, self.keys)]

    def _searched(self):
        yield from ((where, text.encode()) for where, text in self.texts.items())
        for folder, _, names in os.walk(self.directory):
            for name in names:
                if name == "tandemd.log":
                    yield os.path.relpath(os.path.join(folder, name), self.directory), _read(os.path.join(folder, name))

    def searched_octets(self):
        return sum(len(text) for _, text in self._searched())


def check_leaks(lab, checks):
    """At the end of every laboratory, before its folder goes."""
    lab.leaks.collect_files()
    found, octets = lab.leaks.search(), lab.leaks.searched_octets()
    detail = "; ".join(f"{what} in {where}" for what, where in found[:4]) or f"{len(lab.leaks.keys)} keys, {octets // 1024} KiB"
    checks.expect("no key stands in any log, event or status", not found, detail)


def check_search(checks):
    """The search itself: a key is found in every form in which somebody could have written it, and an innocent text is not accused."""
    key, other = hashlib.sha256(b"planted").digest(), hashlib.sha256(b"innocent").digest()
    keys = {key: "planted"}
    missed = [name for name, text in forms_of(key).items() if not found_in(b"2026-01-31 info " + text + b" more", keys)]
    checks.expect("a key that is planted in a log is found, in whatever form", not missed, ", ".join(missed) or f"{len(forms_of(key))} forms")
    accused = [name for name, text in forms_of(other).items() if found_in(text, keys)]
    checks.expect("another is not taken for it", not accused, ", ".join(accused))


def forms_of(key):
    """How a program could write octets."""
    return {
        "hexadecimal": key.hex().encode(),
        "capitals": key.hex().upper().encode(),
        "with colons": key.hex(":").encode(),
        "with blanks": key.hex(" ").encode(),
        "with 0x": b" ".join(f"0x{octet:02x}".encode() for octet in key),
        "base64": base64.b64encode(key),
        "base64 behind an octet": base64.b64encode(b"x" + key),
        "base64 behind two octets": base64.b64encode(b"xy" + key),
        "base64 for addresses": base64.urlsafe_b64encode(key),
        "a list of numbers": ", ".join(str(octet) for octet in key).encode(),
        "raw": key,
        "its head": key[:16].hex().encode(),
        "its tail": key[-16:].hex().encode(),
    }


def found_in(text, keys):
    """Those of `keys` that stand in `text`, whole or in part."""
    plain = re.sub(rb"0x|[: ,\-]", b"", text.lower())
    base = text.replace(b"-", b"+").replace(b"_", b"/")
    numbers = re.sub(rb"[\s\[\]]", b"", text)
    found = []
    for key, what in keys.items():
        pieces = {key[:PIECE], key[-PIECE:]}
        hit = any(
            piece.hex().encode() in plain or piece in text or ",".join(map(str, piece)).encode() in numbers
            or any(form in base for form in _base64_forms(piece)) for piece in pieces)
        if hit:
            found.append(what)
    return found


def _base64_forms(piece):
    """Base64 of a text that has the piece in it, at each of the three places where it can begin; without what depends on its neighbours."""
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + piece)
        first = -(-before * 8 // 6)
        yield whole[first : (before + len(piece)) * 8 // 6]


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _point(path):
    """The public value of a private key's file: 04 || x || y."""
    return subprocess.run(["openssl", "pkey", "-in", path, "-pubout", "-outform", "DER"], capture_output=True, check=True).stdout[-65:]


def _agree(own, other):
    public = other + ".pub"
    run("openssl", "pkey", "-in", other, "-pubout", "-out", public)
    try:
        return subprocess.run(["openssl", "pkeyutl", "-derive", "-inkey", own, "-peerkey", public], capture_output=True, check=True).stdout
    finally:
        os.unlink(public)


def _hkdf(secret, info):
    """HKDF with SHA-256, no salt, 32 octets (RFC 5869)."""
    extracted = hmac.new(bytes(32), secret, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\1", hashlib.sha256).digest()
