"""Files that are wrong: a clear error that names file and line, and an exit status that is not 0."""

import os
import re

from ..processes import run

#: name → (change of a good configuration, what the error must say)
BROKEN = {
    "broken TOML": (lambda text: text.replace("[pair]", "[pair", 1), r"tandem-broken\.toml:\d+"),
    "an unknown key": (lambda text: text.replace('peer = "', 'pear = "', 1), r"tandem-broken\.toml:\d+: pair\.pear: unknown key"),
    "a bad address": (lambda text: text.replace("192.0.2.10/24", "192.0.2.300/24", 1), r"tandem-broken\.toml:\d+: address"),
    "a missing node": (lambda text: text.replace("[node]", "[nod]", 1), r"node.*missing|unknown key"),
    "an unknown proposal": (
        lambda text: text.replace("aes256gcm16-prfsha384-ecp384", "rot13-sha999"),
        r"tandem-broken\.toml:\d+: connections\.road\.proposals"),
    "an empty file": (lambda text: "", r"node.*missing"),
    "no text at all": (lambda text: "\0\1\2\3", r"(?i)NUL|TOML"),
}


def files(checks, gateway):
    """Starts the daemon on each broken file; `gateway` is a node whose files are good and whose daemon need not run."""
    for name, (change, expected) in BROKEN.items():
        path = gateway.write("tandem-broken.toml", change(gateway.configuration))
        _expect_refused(checks, name, gateway, path, expected)
    _expect_refused(checks, "no such file", gateway, os.path.join(gateway.directory, "absent.toml"), r"absent\.toml")
    key = os.path.join(gateway.directory, "pair", f"{gateway.name}.key")
    for what, path in (("a key that others can read", key), ("a secret that others can read", os.path.join(gateway.directory, "road.psk"))):
        os.chmod(path, 0o644)
        _expect_refused(checks, what, gateway, gateway.configuration_path, re.escape(f"chmod 600 {path}"))
        os.chmod(path, 0o600)
    good = run(os.path.join(gateway.build, "tandem"), "check", gateway.configuration_path, check=False)
    checks.expect("tandem check: a good file passes", good.returncode == 0, (good.stdout + good.stderr).strip()[:100])


def _expect_refused(checks, name, gateway, path, expected):
    for program, arguments in (("tandemd", ["--config", path]), ("tandem", ["check", path])):
        done = run(
            os.path.join(gateway.build, program), *arguments, network=gateway.network.name(gateway.name), check=False, timeout=20)
        said = (done.stdout + done.stderr).strip()
        shown = said.splitlines()[-1] if said else "no output"
        refused = done.returncode > 0 and re.search(expected, said) is not None
        checks.expect(f"{program}: {name}", refused, f"exit {done.returncode}: {shown[-150:]}")
