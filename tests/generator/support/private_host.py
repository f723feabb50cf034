"""A host of a test's own, which takes no root: the command runs on it with its real effects.

A user namespace gives the command root over a mount namespace, where /etc, /run, /srv and /var
are directories of the test's. What asks a running system (systemctl, systemd-run, loginctl), or
needs more ids than a plain user has (systemd-tmpfiles), is stood in for by shell scripts, which
keep to what they are told in files; all else is what this machine has.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

PROGRAMS = {
    # The state of a unit is a file: on/UNIT, up/UNIT. A unit is loaded where its file is there.
    "systemctl": r"""
case $1 in --no-block | --global | --user) shift ;; esac
verb=$1; shift
case $verb in
  is-enabled) test -e "/run/on/$2"; exit ;;
  is-active) test -e "/run/up/$2"; exit ;;
  is-system-running) echo running; exit ;;
  cat) cat "/etc/systemd/system/$1"; exit ;;
  show)
    while [ "$1" != -- ]; do shift; done; shift
    for unit; do
      load=not-found active=inactive
      test -e "/etc/systemd/system/$unit" && load=loaded
      test -e "/run/up/$unit" && active=active
      printf 'LoadState=%s\nActiveState=%s\n\n' "$load" "$active"
    done
    exit ;;
esac
echo "systemctl $verb $*" >>/run/told
for unit; do
  case $unit in -*) continue ;; esac
  case $verb in
    enable) touch "/run/on/$unit" ;;
    disable) rm -f "/run/on/$unit" "/run/up/$unit" ;;
    stop) rm -f "/run/up/$unit" ;;
    start | restart | reload-or-restart)
      test ! -e /run/refuses || exit 1
      touch "/run/up/$unit" ;;
  esac
done
""",
    "systemd-tmpfiles": r"""
sed -n 's/^d \([^ ]*\) .*/\1/p' "$2" | tr -d '"' | while read -r path; do
  mkdir -p "$path" || :
done
""",
    "loginctl": 'mkdir -p /var/lib/systemd/linger && touch "/var/lib/systemd/linger/$2"\n',
    "systemd-run": r"""
while [ "$1" != /bin/sh ]; do shift; done
exec "$@"
""",
    "busctl": "exit 1\n",
    "journalctl": 'echo "the journal of: $*"\n',
}
_OWN = ("etc", "run", "srv", "var")
_MOUNT = 'for d in etc run srv var; do mount --bind "$0/$d" /$d || exit 126; done; exec "$@"'
_NEEDED = ("unshare", "mount", "systemd-sysusers", "usermod")


@cache
def why_not() -> str | None:
    """Why there is no such host on this machine, or None where there is."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if missing := [name for name in _NEEDED if shutil.which(name, path=path) is None]:
        return f"not installed: {', '.join(missing)}"
    words = ["unshare", "--user", "--map-root-user", "--mount", "--net", "true"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return f"no namespaces for users: {done.stderr.strip()}" if done.returncode else None


class PrivateHost:
    """The directories of a host, below `root`, and what is run on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for path in ("etc", "run/on", "run/up", "srv", "var/lib", "opt"):
            (root / path).mkdir(parents=True)
        self.put("etc/passwd", "root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\n")
        self.put("etc/group", "root:x:0:\ndaemon:x:1:\nadm:x:4:\n")
        for name in ("etc/subuid", "etc/subgid"):
            self.put(name, "")
        for name, script in PROGRAMS.items():
            self.put(f"opt/{name}", f"#!/bin/sh\n{script}").chmod(0o755)
        own = f'#!/bin/sh\nexec {sys.executable} -m llmhop "$@"\n'
        self.llmhop = self.put("opt/llmhop", own)
        self.llmhop.chmod(0o755)

    def put(self, path: str, text: str) -> Path:
        """Write a file of the host."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def read(self, path: str) -> str:
        return (self.root / path).read_text(encoding="utf-8")

    @property
    def told(self) -> list[str]:
        """What systemctl was told to do, from now on anew."""
        path = self.root / "run/told"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def files(self) -> dict[str, str]:
        """Every file of the host, and what is in it; what runs leave behind in /run is no part."""
        return {
            str(path.relative_to(self.root)): path.read_text()
            for name in ("etc", "srv", "var")
            for path in sorted((self.root / name).rglob("*"))
            if path.is_file() and os.access(path, os.R_OK)
        }

    def run(
        self, *words: str | Path, config: Any = None, before: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run the command as root of the host; `config` is its CONFIG, on standard input.

        `before` is what a shell does on the host first.
        """
        words = (*words, *([] if config is None else ("-", "--llmhop", self.llmhop)))
        return subprocess.run(
            self.command(*words, before=before),
            input="" if config is None else json.dumps(config),
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def command(self, *words: str | Path, before: str = "") -> list[str]:
        """The command as root of the host, to be run with `environment` added."""
        return [
            *("unshare", "--user", "--map-root-user", "--mount", "--net"),
            *("sh", "-c", _MOUNT, str(self.root)),
            *("sh", "-c", f'{before}\n exec "$0" "$@"'),
            *(sys.executable, "-m", "llmhop_generator", *map(str, words)),
        ]

    @property
    def environment(self) -> dict[str, str]:
        """Where the host's own programs are found first."""
        return {"PATH": f"{self.root}/opt:/usr/bin:/bin:/usr/sbin:/sbin"}
