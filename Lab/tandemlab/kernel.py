"""The few system calls that Python 3.11 has no name for: entering namespaces and mounting."""

import contextlib
import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MS_BIND = 0x1000
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def enter_network(name):
    """Moves the calling thread into the named network namespace (as `ip netns` names it)."""
    descriptor = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(descriptor, CLONE_NEWNET), f"setns {name}")
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def inside(name):
    """Runs a block inside a network namespace: sockets made there stay there, /proc/sys/net is that namespace's."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter_network(name)
        yield
    finally:
        _check(_libc.setns(home, CLONE_NEWNET), "setns home")
        os.close(home)


def mount(source, target, kind, flags=0):
    source, target = source.encode(), target.encode()
    _check(_libc.mount(source, target, kind.encode() if kind else None, ctypes.c_ulong(flags), None), f"mount {target}")


def private_mounts(binds=()):
    """Gives the calling process its own mounts: an empty /run, a /sys that shows its network namespace, and folders elsewhere."""
    _check(_libc.unshare(CLONE_NEWNS), "unshare")
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", "/run", "tmpfs")
    if _libc.umount2(b"/sys", MNT_DETACH) == 0:
        mount("sysfs", "/sys", "sysfs")
    for folder, place in binds:
        mount(folder, place, None, MS_BIND)


def die_with_parent(signal_number):
    """The kernel ends this process when the one that started it ends, however that ends."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal_number), 0, 0, 0), "prctl")
