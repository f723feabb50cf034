"""What is refused of keys of [Container] and of the same as arguments of `podman run`.

Every key that Podman 5.4 knows is judged (pkg/systemd/quadlet/quadlet.go, supportedContainerKeys).
A later one is Podman's own to refuse or to take.
"""

from ipaddress import ip_address

from llmhop_generator.contract.keys.rule import HEALTH, SYSTEMD_RESTARTS, TRUE, Rule


# Podman reads addresses as it makes the container, when the model before has ended
# (net.ParseIP of Go, which Python's reading agrees with).
def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _are_resolvers(text: str) -> bool:
    return text == "none" or all(map(_is_address, text.split(",")))


def _is_host_entry(text: str) -> bool:
    names, _, address = text.partition(":")
    return names != "" and (address == "host-gateway" or _is_address(address.strip()))


_NONE = r"(?i:none)(\s.*)?|"
# As Go reads them (time.ParseDuration).
_LENGTH = r"\+?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+"
_SOME_TIME = rf"(?=.*[1-9]){_LENGTH}"
_ANY_TIME = rf"{_LENGTH}|\+?0"

_GIVE_TIME = "give a length above 0 with its unit, such as 10s"
_ADDRESS = "give an IP address"
_IMAGE = "set the options `image` and `tag`, or `digest`"
_POD = "a pod publishes the ports of its containers, and a model its own"
_STARTUP = "until a model is loaded this check waits, where the other one would kill it"

_ALLOWED = """
AddCapability AddDevice Annotation AutoUpdate CgroupsMode ContainersConfModule
DNSOption DNSSearch DropCapability Entrypoint Environment EnvironmentHost
ExposeHostPort GIDMap Group GroupAdd HealthLogDestination HealthMaxLogCount
HealthMaxLogSize HostName Label LogDriver
LogOpt Mask Mount NetworkAlias NoNewPrivileges PidsLimit PodmanArgs GlobalArgs ReadOnly
ReadOnlyTmpfs RemapGid RemapUid RemapUidSize RemapUsers RunInit SeccompProfile Secret
SecurityLabelDisable SecurityLabelFileType SecurityLabelLevel SecurityLabelNested
SecurityLabelType ShmSize StopSignal StopTimeout SubGIDMap SubUIDMap Sysctl Timezone
Tmpfs UIDMap Ulimit Unmask User UserNS Volume WorkingDir
"""

CONTAINER: dict[str, Rule | None] = {
    **dict.fromkeys(_ALLOWED.split()),
    "AddHost": Rule(
        "give NAME:ADDRESS, with an IP address or host-gateway",
        taken=_is_host_entry,
        several=True,
        flags=("--add-host",),
    ),
    "ContainerName": Rule("set the model's `name`", flags=("--name",)),
    "DNS": Rule(
        "give an IP address, such as 9.9.9.9, or none",
        taken=_are_resolvers,
        several=True,
        flags=("--dns",),
    ),
    "EnvironmentFile": Rule("set the option `environmentFile`", flags=("--env-file",)),
    "Exec": Rule("set the option `settings`"),
    # Without a check Podman refuses Notify=healthy; one that never runs is never passed
    # (libpod/healthcheck_linux.go, disableHealthCheckSystemd).
    "HealthCmd": Rule(
        HEALTH, _NONE, flags=("--health-cmd",), alone=("--no-healthcheck", "--no-health-check")
    ),
    "HealthInterval": Rule(
        f"{HEALTH}; {_GIVE_TIME}", taken=_SOME_TIME, flags=("--health-interval",)
    ),
    "HealthOnFailure": Rule(
        f"{SYSTEMD_RESTARTS}; write kill or stop", "restart", flags=("--health-on-failure",)
    ),
    "HealthStartupCmd": Rule(_STARTUP, _NONE, flags=("--health-startup-cmd",)),
    "HealthRetries": Rule(
        f"{HEALTH}; give a number above 0", taken="0*[1-9][0-9]*", flags=("--health-retries",)
    ),
    "HealthStartPeriod": Rule(
        "give a length of time with its unit, such as 10s, or 0",
        taken=_ANY_TIME,
        flags=("--health-start-period",),
    ),
    "HealthStartupInterval": Rule(
        f"{_STARTUP}; {_GIVE_TIME}", taken=_SOME_TIME, flags=("--health-startup-interval",)
    ),
    "HealthStartupRetries": Rule(
        "give a number", taken="[0-9]+", flags=("--health-startup-retries",)
    ),
    "HealthStartupSuccess": Rule(
        "give a number", taken="[0-9]+", flags=("--health-startup-success",)
    ),
    "HealthStartupTimeout": Rule(_GIVE_TIME, taken=_SOME_TIME, flags=("--health-startup-timeout",)),
    "HealthTimeout": Rule(_GIVE_TIME, taken=_SOME_TIME, flags=("--health-timeout",)),
    "IP": Rule(_ADDRESS, taken=_is_address, flags=("--ip",)),
    "IP6": Rule(_ADDRESS, taken=_is_address, flags=("--ip6",)),
    "Image": Rule(_IMAGE),
    "Network": Rule(
        "a model is reached by the port that Podman publishes on 127.0.0.1, and of such a network "
        "none is published; leave it out, or name another such as pasta",
        r"host|none|(container|ns):.*|.*\.container",
        several=True,
        flags=("--network", "--net"),
    ),
    "Notify": Rule(HEALTH, flags=("--sdnotify",)),
    "Pod": Rule(_POD, flags=("--pod", "--pod-id-file")),
    "PublishPort": Rule("set the option `port`", flags=("--publish", "-p")),
    "Pull": Rule("a tag is pulled where a newer image is found, a digest once", flags=("--pull",)),
    "Rootfs": Rule(_IMAGE, flags=("--rootfs",)),
    "ServiceName": Rule("set the model's `name`"),
    "StartWithPod": Rule(_POD),
    "VolatileTmp": Rule(
        '/tmp is mounted already; write Tmpfs = [ "" "/tmp:…" ] for another one',  # noqa: S108
        TRUE,
    ),
}
