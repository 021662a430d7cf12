"""What the lab needs of its host, said in one sentence when it is not there."""

import os
import shutil

from .processes import LabError, run
from .strongswan import CHARON

PLUGINS = "/usr/lib/ipsec/plugins/libstrongswan-{}.so"
PACKAGES = {
    "ip": "iproute2", "tcpdump": "tcpdump", "swanctl": "strongswan-swanctl", CHARON: "strongswan-charon",
    PLUGINS.format("kernel-libipsec"): "libcharon-extra-plugins", PLUGINS.format("gcm"): "libstrongswan-standard-plugins",
}


def check(build):
    """Raises LabError when something is missing, with what to do about it."""
    if os.geteuid() != 0:
        raise LabError("the lab makes network namespaces: run it as root")
    missing = [package for program, package in PACKAGES.items() if not (shutil.which(program) or os.path.exists(program))]
    if missing:
        raise LabError(f"packages are missing: apt install {' '.join(missing)}")
    for program in ("tandemd", "tandem"):
        if not os.access(os.path.join(build, program), os.X_OK):
            raise LabError(f"there is no {program} in {build}: build it first, or name the folder with --build")


def load_modules(*names):
    """Modules of User-Mode Linux, whose folder only its init knows; elsewhere the kernel has them or not."""
    if os.path.isdir("/run/kernel"):
        run("modprobe", "-d", "/run/kernel", "-a", *names)
