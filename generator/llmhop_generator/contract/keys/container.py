"""What is refused of keys of [Container] and of the same as arguments of `podman run`.

Every key that Podman 5.4 knows is judged (pkg/systemd/quadlet/quadlet.go, supportedContainerKeys).
A later one is Podman's own to refuse or to take.
"""

import re
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


# What follows Podman reads as it makes the container too (Podman 5.4: pkg/specgenutil,
# docker/go-units, containers/common/pkg/capabilities).
def _is_volume(text: str) -> bool:
    source, colon, rest = text.partition(":")
    if not colon:
        return text.startswith("/")
    # Podman's generator takes `./` for the directory of the unit.
    named = re.fullmatch("[A-Za-z0-9][A-Za-z0-9_.-]*", source)
    return rest.startswith("/") and (source.startswith(("/", ".")) or named is not None)


_SIGNAL = (
    "(SIG)?([0-9]+|ABRT|ALRM|BUS|CHLD|CLD|CONT|FPE|HUP|ILL|INT|IO|IOT|KILL|PIPE|POLL|PROF|PWR|QUIT"
    "|SEGV|STKFLT|STOP|SYS|TERM|TRAP|TSTP|TTIN|TTOU|URG|USR1|USR2|VTALRM|WINCH|XCPU|XFSZ"
    r"|RT(MIN(\+[0-9]+)?|MAX(-[0-9]+)?))"
)
_CAPABILITIES = """
ALL AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE
DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE
MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID
SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE
SYS_TIME SYS_TTY_CONFIG SYSLOG WAKE_ALARM
"""


def _are_capabilities(text: str) -> bool:
    names = re.split(r"[\s,]+", text.upper())
    return {name.removeprefix("CAP_") for name in names} <= {*_CAPABILITIES.split()}


_LIMIT = (
    "(core|cpu|data|fsize|locks|memlock|msgqueue|nice|nofile|nproc|rss|rtprio|rttime|sigpending"
    "|stack)=-?[0-9]+(:-?[0-9]+)?|host"
)
_CAPABILITY = "give names of capabilities(7), or all"
_NUMBER = "give a number"

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
AddDevice Annotation AutoUpdate CgroupsMode ContainersConfModule
DNSOption DNSSearch Entrypoint Environment EnvironmentHost
ExposeHostPort GIDMap Group GroupAdd HealthLogDestination HealthMaxLogCount
HealthMaxLogSize HostName Label
LogOpt Mask Mount NetworkAlias NoNewPrivileges PodmanArgs GlobalArgs ReadOnly
ReadOnlyTmpfs RemapGid RemapUid RemapUidSize RemapUsers RunInit SeccompProfile Secret
SecurityLabelDisable SecurityLabelFileType SecurityLabelLevel SecurityLabelNested
SecurityLabelType ShmSize SubGIDMap SubUIDMap Timezone
UIDMap Unmask User WorkingDir
"""

CONTAINER: dict[str, Rule | None] = {
    **dict.fromkeys(_ALLOWED.split()),
    "AddCapability": Rule(_CAPABILITY, taken=_are_capabilities, several=True, flags=("--cap-add",)),
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
    "DropCapability": Rule(
        _CAPABILITY, taken=_are_capabilities, several=True, flags=("--cap-drop",)
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
    "LogDriver": Rule(
        "give journald, k8s-file, none or passthrough",
        taken="journald|json-file|k8s-file|none|passthrough(-tty)?",
        flags=("--log-driver",),
    ),
    "Network": Rule(
        "a model is reached by the port that Podman publishes on 127.0.0.1, and of such a network "
        "none is published; leave it out, or name another such as pasta",
        r"host|none|(container|ns):.*|.*\.container",
        several=True,
        flags=("--network", "--net"),
    ),
    "Notify": Rule(HEALTH, flags=("--sdnotify",)),
    "PidsLimit": Rule(_NUMBER, taken="-?[0-9]+", flags=("--pids-limit",)),
    "Pod": Rule(_POD, flags=("--pod", "--pod-id-file")),
    "PublishPort": Rule("set the option `port`", flags=("--publish", "-p")),
    "Pull": Rule("a tag is pulled where a newer image is found, a digest once", flags=("--pull",)),
    "Rootfs": Rule(_IMAGE, flags=("--rootfs",)),
    "ServiceName": Rule("set the model's `name`"),
    "StartWithPod": Rule(_POD),
    "StopSignal": Rule("name a signal", taken=f"(?i:{_SIGNAL})", flags=("--stop-signal",)),
    "StopTimeout": Rule("give seconds", taken="[0-9]+", flags=("--stop-timeout",)),
    "Sysctl": Rule("give KEY=VALUE", taken=r"[^=\s]+=.*", several=True, flags=("--sysctl",)),
    "Tmpfs": Rule("give an absolute path", taken="/.*", several=True, flags=("--tmpfs",)),
    "Ulimit": Rule("give NAME=SOFT:HARD", taken=_LIMIT, several=True, flags=("--ulimit",)),
    "UserNS": Rule(
        "give a mode of --userns, such as keep-id",
        taken="(auto|keep-id)(:.+)?|host|nomap|private|(container|ns):.+",
    ),
    "Volume": Rule(
        "give SOURCE:TARGET, absolute paths, or the name of a volume as SOURCE",
        taken=_is_volume,
        several=True,
        flags=("--volume", "-v"),
    ),
    "VolatileTmp": Rule(
        '/tmp is mounted already; write Tmpfs = [ "" "/tmp:…" ] for another one',  # noqa: S108
        TRUE,
    ),
}
