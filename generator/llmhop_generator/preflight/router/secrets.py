"""Findings about llmhop's secrets and certificates, read as its service would read them."""

import re
import shlex
from collections.abc import Iterator

from llmhop_generator.errors import Finding
from llmhop_generator.host.process import run
from llmhop_generator.host.systemd import system
from llmhop_generator.layout import ROUTER_UNIT
from llmhop_generator.router.check import findings_of

# Of llmhop.service, what decides who reads a secret, and where it finds it (systemd.exec(5)).
_COPIED = (
    *("User", "Group", "SupplementaryGroups", "ProtectHome", "PrivateTmp"),
    *("Environment", "EnvironmentFile", "PassEnvironment", "UnsetEnvironment"),
    *("LoadCredential", "LoadCredentialEncrypted", "ImportCredential"),
    *("SetCredential", "SetCredentialEncrypted"),
)
# Exit codes of a shell without its command, and of systemd (systemd.exec(5), Process Exit Codes).
_FAILURES = {
    126: "can't run its command; see ExecStart=",
    127: "has no command; see ExecStart=",
    216: "has no group; make what Group= names",
    217: "has no user; make what User= names",
    243: "can't be given its credentials; make what LoadCredential= names",
}
# The pipe that systemd-run passes on is root's; only its owner can read it by name.
_CHECK = 'cat | "$0" --check --json --config /dev/stdin'


def secret_findings(router: str) -> Iterator[Finding]:
    """Find the secrets and certificates of a configuration that llmhop's service can't have.

    llmhop checks it as a service of its own, with the user, the credentials and the variables of
    llmhop.service. Where those can't be told from its unit nothing is found.
    """
    keys = _keys_of_service(system("cat", ROUTER_UNIT).stdout)
    copied = [(key, value) for key, value in keys if key in _COPIED]
    started = [value for key, value in keys if key == "ExecStart" and value]
    # systemd-run takes specifiers as they stand (systemd.unit(5)).
    if not started or any("%" in value for _, value in [*copied, ("ExecStart", started[-1])]):
        return
    command = shlex.split(started[-1])[0]
    properties = [word for key, value in copied for word in ("-p", f"{key}={value}")]
    done = run(
        [
            *("systemd-run", "--pipe", "--wait", "--quiet", "--collect", *properties),
            *("/bin/sh", "-c", _CHECK, command),
        ],
        stdin=router,
        check=False,
    )
    if done.code in _FAILURES:
        yield Finding.at(("llmhop", "enable"), f"{ROUTER_UNIT} {_FAILURES[done.code]}")
    for found in findings_of(done.stdout) or ():
        # Of the service of its own, whose name nobody knows.
        told = re.sub(r"/run/credentials/[^/]+", f"/run/credentials/{ROUTER_UNIT}", found.what)
        yield Finding.at(found.path, told)


def _keys_of_service(unit: str) -> list[tuple[str, str]]:
    """The keys of [Service] in a unit and its drop-ins, in their order."""
    found, section = [], ""
    for line in unit.replace("\\\n", " ").splitlines():
        if line.startswith("["):
            section = line.strip()
        elif section == "[Service]" and "=" in line and not line.startswith(("#", ";")):
            key, _, value = line.partition("=")
            found.append((key.strip(), value.strip()))
    return found
