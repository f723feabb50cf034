"""A rootless Podman, in a copy of the test host's root on which nothing is booted.

It is asked to create containers, as `podman run` does first, and starts none.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.host.build import CLEAN_ENVIRONMENT

UID = 503
IMAGE = "docker.io/vllm/vllm-openai:v1"
"""The image that services have to name, in whose place an empty root file system stands."""

_SUB_IDS = "300000:65536"
_ROOT_FS = "/home/vllm/root"
_OF_THE_UNIT = {"-d", "--rm", "--replace", "--cidfile=%t/%N.cid"}

_NAMESPACES = ("unshare", "--mount", "--pid", "--fork")
# Podman makes user namespaces, which the kernel denies to a process in a chroot.
_ENTER = """
set -e
mount -t tmpfs tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
cd "$2/root"
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs tmpfs dev/shm
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mkdir old
pivot_root . old
cd /
umount --lazy old
mount --make-rshared /
exec python3 -c "$3"
"""

# The user, its storage and a root file system; then a container for each list of arguments.
_CREATE = """
import json, os, subprocess, sys
from concurrent.futures import ThreadPoolExecutor

asked = json.load(sys.stdin)
uid, home, run = asked["uid"], "/home/vllm", "/run/user/vllm"
subprocess.run(["groupadd", "-g", str(uid), "vllm"], check=True)
user = ["--system", "--create-home", "-u", str(uid), "-g", str(uid), "vllm"]
subprocess.run(["useradd", *user], check=True)
for name in ("subuid", "subgid"):
    open(f"/etc/{name}", "w").write(f"vllm:{asked['sub_ids']}\\n")
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", home], check=True)
for path in (home, run, f"{home}/root", "/var/cache/vllm"):
    os.makedirs(path, exist_ok=True)
    os.chown(path, uid, uid)
with open("/etc/containers/containers.conf", "a") as file:
    file.write('[engine]\\ncgroup_manager = "cgroupfs"\\nevents_logger = "none"\\n')

def as_user(command):
    env = {**os.environ, "HOME": home, "USER": "vllm", "XDG_RUNTIME_DIR": run}
    user = {"user": uid, "group": uid, "extra_groups": []}
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", env=env, **user)
    return done.stderr if done.returncode else None

for command in asked["before"]:
    failed = as_user(command)
    if failed is not None:
        sys.exit(f"{command}: {failed}")
with ThreadPoolExecutor(2) as pool:
    json.dump(list(pool.map(as_user, asked["commands"])), sys.stdout)
"""


def refusals(
    root: Path,
    mount_point: Path,
    services: Sequence[str],
    *,
    before: Sequence[Sequence[str]] = (),
) -> list[str | None]:
    """What Podman says where it does not create the container of a service, else None.

    root: the test host's, which stays as it is.
    services: units that Podman's generator made of Quadlet sources, with IMAGE as their image.
    before: commands that are run first, as the user of the containers.
    """
    asked = {
        "uid": UID,
        "sub_ids": _SUB_IDS,
        "before": before,
        "commands": [_creating(service) for service in services],
    }
    done = subprocess.run(
        [*_NAMESPACES, "sh", "-c", _ENTER, "sh", root, mount_point, _CREATE],
        input=json.dumps(asked),
        env=CLEAN_ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[str | None] = json.loads(done.stdout)
    return answers


def _creating(service: str) -> list[str]:
    """The command that creates what a service runs, of a root file system without an image."""
    lines = [line.partition("=") for line in service.splitlines()]
    (started,) = [value for key, _, value in lines if key == "ExecStart"]
    words = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(started)]
    run, image = words.index("run"), words.index(IMAGE)
    flags = [word for word in words[run + 1 : image] if word not in _OF_THE_UNIT]
    return [*words[:run], "create", *flags, "--rootfs", _ROOT_FS, *words[image + 1 :]]


def service_of(root: Path, directory: Path, source: str) -> str | None:
    """The service that Podman's generator makes of a source in an empty directory, if it does."""
    (directory / "x.container").write_text(source, encoding="utf-8")
    done = subprocess.run(
        [root / "usr/libexec/podman/quadlet", "-dryrun", "-user"],
        env={"QUADLET_UNIT_DIRS": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.partition("---x.service---")[2] or None
