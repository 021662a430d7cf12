"""What the running daemon and its guard may do: exactly what they need, in every thread."""

import glob
import grp
import os
import pwd
import re
import stat
import subprocess

#: Bits of CAP_NET_ADMIN and CAP_NET_RAW, and of CAP_IPC_LOCK (linux/capability.h).
NEEDED, LOCKING = 1 << 12 | 1 << 13, 1 << 14


def process(checks, gateways):
    for gateway in gateways:
        _check(checks, f"tandemd on {gateway.name}", gateway.process.pid)
        guard = _guard_of(gateway.process.pid)
        checks.expect(f"{gateway.name} has a guard", guard is not None)
        if guard:
            _check(checks, f"the guard on {gateway.name}", guard)
        _control_group(checks, gateway)


def _control_group(checks, gateway):
    """The members of the control socket's group may look, and nothing else; others may not even connect."""
    shown = os.stat(gateway.socket)
    group = grp.getgrnam("nogroup").gr_gid
    mode = stat.S_IMODE(shown.st_mode)
    checks.expect(f"{gateway.name}: the control socket is root's and its group's", (mode, shown.st_gid) == (0o660, group), f"{mode:o}")
    for arguments, wanted in (
            (("status",), ""), (("events",), ""), (("get", "road", "-o", "-"), "only root may"), (("switchover",), "only root may"),
            (("pair", "rotate"), "only root may"), (("terminate", "road"), "only root may")):
        done = _as_nobody(gateway, group, *arguments)
        said = (done.stdout + done.stderr).strip()
        holds = done.returncode == 0 if not wanted else done.returncode != 0 and wanted in said
        what = "may" if not wanted else "may not"
        checks.expect(f"{gateway.name}: a member {what} {' '.join(arguments)}", holds, said.splitlines()[0][:100] if said else "")
    stranger = _as_nobody(gateway, grp.getgrnam("daemon").gr_gid, "status")
    checks.expect(f"{gateway.name}: who is no member may not connect", stranger.returncode != 0, stranger.stderr.strip()[-80:])


def _as_nobody(gateway, group, *arguments):
    user = pwd.getpwnam("nobody").pw_uid

    def become():
        # The laboratory's folder is root's: only the folder of the socket is entered.
        os.chdir(gateway.directory)
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)

    program = os.path.abspath(os.path.join(gateway.build, "tandem"))
    return subprocess.run(
        [program, *arguments, "--socket", os.path.basename(gateway.socket)], capture_output=True, text=True, timeout=20, preexec_fn=become)


def _check(checks, name, pid):
    with open(f"/proc/{pid}/limits") as file:
        limits = file.read()
    # Where this machine allows no unlimited locking, the power to lock memory all the same is kept.
    needed = NEEDED if re.search(r"^Max locked memory\s+unlimited", limits, re.MULTILINE) else NEEDED | LOCKING
    threads = [_status(path) for path in glob.glob(f"/proc/{pid}/task/*/status")]
    sets = {key: {int(thread[key], 16) for thread in threads} for key in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")}
    exact = all(sets[key] == {needed} for key in ("CapEff", "CapPrm", "CapBnd"))
    none = all(not value & ~needed for key in ("CapInh", "CapAmb") for value in sets[key])
    shown = ", ".join(f"{key} {'/'.join(f'{value:x}' for value in sorted(values))}" for key, values in sets.items())
    names = "NET_ADMIN, NET_RAW" + (", IPC_LOCK" if needed & LOCKING else "")
    checks.expect(f"{name}: {names} and no other capability, in every thread", exact and none, f"{len(threads)} threads: {shown}")
    checks.expect(f"{name}: nothing that it starts gains privileges", {thread["NoNewPrivs"] for thread in threads} == {"1"})
    core = re.search(r"^Max core file size\s+(\S+)\s+(\S+)", limits, re.MULTILINE)
    checks.expect(f"{name}: leaves no core", core is not None and core.groups() == ("0", "0"), str(core and core.groups()))
    main = _status(f"/proc/{pid}/status")
    locked = int(main["VmLck"].split()[0])
    checks.expect(f"{name}: its memory is locked", locked > 0, f"{locked} KiB of {main['VmSize']}, {main['VmRSS']} resident")


def _status(path):
    with open(path) as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def _guard_of(pid):
    """The child of the daemon that is its guard."""
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as file:
                parent = int(file.read().rsplit(")", 1)[1].split()[1])
            if parent != pid:
                continue
            child = os.path.basename(os.path.dirname(path))
            with open(f"/proc/{child}/cmdline") as file:
                if "--watch" in file.read().split("\0"):
                    return int(child)
        except OSError:
            continue
    return None
