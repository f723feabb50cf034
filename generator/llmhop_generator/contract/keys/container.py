"""What is refused of keys of [Container] and of the same as arguments of `podman run`.

Every key that Podman 5.4 knows is judged (pkg/systemd/quadlet/quadlet.go, supportedContainerKeys).
A later one is Podman's own to refuse or to take.
"""

import re

from llmhop_generator.contract.keys import mounts
from llmhop_generator.contract.keys.go_text import (
    LENGTH,
    is_address,
    is_signed,
    is_size,
    is_unsigned,
    unsigned,
)
from llmhop_generator.contract.keys.rule import HEALTH, SYSTEMD_RESTARTS, TRUE, Rule


# Podman reads most values as it makes the container, when the model before has ended
# (Podman 5.4: cmd/podman/common, pkg/specgenutil, pkg/namespaces, pkg/util;
# containers/common: pkg/capabilities, pkg/signal; docker/go-units).
def _are_resolvers(text: str) -> bool:
    return text == "none" or all(map(is_address, text.split(",")))


def _is_host_entry(text: str) -> bool:
    names, _, address = text.partition(":")
    return all(names.split(";")) and (address == "host-gateway" or is_address(address.strip()))


def _is_limit(text: str) -> bool:
    found = re.fullmatch(_LIMIT, text)
    if found is None:
        return text == "host"
    soft, hard = int(found["soft"]), int(found["hard"] or found["soft"])
    in_range = min(soft, hard) >= -(2**63) and max(soft, hard) < 2**63
    return in_range and (hard == -1 or -1 != soft <= hard)


def _is_log_option(text: str) -> bool:
    name, equals, value = text.partition("=")
    return equals != "" and (name != "max-size" or is_size(value))


def _is_port_range(text: str) -> bool:
    found = re.fullmatch("([0-9]{1,5})(-([0-9]{1,5}))?(/(tcp|udp))?", text.strip())
    return found is not None and 0 < int(found[1]) <= int(found[3] or found[1]) < 2**16


def _is_secret(text: str) -> bool:
    name, *options = text.split(",")
    if options and "=" in name:
        options = [name, *options]
    return all(re.fullmatch(_OPTION_OF_SECRETS, option) for option in options)


_OPTION_OF_SECRETS = "source=.*|type=(mount|env)|target=.*|mode=[0-7]+|(uid|UID|gid|GID)=[0-9]+"
_SIGNAL = (
    "-?((SIG)?(ABRT|ALRM|BUS|CHLD|CLD|CONT|FPE|HUP|ILL|INT|IO|IOT|KILL|PIPE|POLL|PROF|PWR|QUIT"
    "|SEGV|STKFLT|STOP|SYS|TERM|TRAP|TSTP|TTIN|TTOU|URG|USR1|USR2|VTALRM|WINCH|XCPU|XFSZ"
    r"|RTMIN(\+(1[0-5]|[1-9]))?|RTMAX(-(1[0-4]|[1-9]))?)|\+?0*([1-9]|[1-5][0-9]|6[0-4]))"
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
    return "CAP_ALL" not in names and all(
        name.removeprefix("CAP_") in _CAPABILITIES.split() for name in names
    )


_LIMIT = (
    "(?i:(rlimit_)?(core|cpu|data|fsize|locks|memlock|msgqueue|nice|nofile|nproc|rss|rtprio"
    "|rttime|sigpending|stack))=(?P<soft>[+-]?[0-9]+)(:(?P<hard>[+-]?[0-9]+))?"
)
_SYSCTL = (
    r"(net\.[^=]*|fs\.mqueue\.[^=]*|kernel\.(msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni"
    r"|shm_rmid_forced))(?<!\s)=(?!\s)[^=]*(?<!\s)(=.*)?"
)
_DOMAIN_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = rf"(?=.*[A-Za-z])({_DOMAIN_LABEL}(\.{_DOMAIN_LABEL})*)\.?\s*"
_MAPPING = "[+ug]*[0-9]+:@?[0-9]+(:[0-9]+)?"
_USER_NAMESPACE = (
    ("auto(:AUTO(,AUTO)*)?|keep-id(:(KEEP(,KEEP)*)?)?|host|nomap|(container|ns):.+")
    .replace("AUTO", "(size=[0-9]+|[ug]idmapping=.*)")
    .replace("KEEP", "(uid|gid|size)=[0-9]+")
)
_CAPABILITY = "give names of capabilities(7), or all"
_NUMBER = "give a number"
_MAPS = "give CONTAINER:HOST:COUNT, which are numbers of ids"

_NONE = r"(?i:none)(\s.*)?|\[\s*\]|"
_SOME_TIME = rf"(?!-)(?=.*[1-9]){LENGTH}"
_ANY_TIME = rf"(?!-.*[1-9]){LENGTH}|[+-]?0"

_GIVE_TIME = "give a length above 0 with its unit, such as 10s"
_ADDRESS = "give an IP address"
_IMAGE = "set the options `image` and `tag`, or `digest`"
_POD = "a pod publishes the ports of its containers, and a model its own"
_STARTUP = "until a model is loaded this check waits, where the other one would kill it"

_ALLOWED = """
Annotation AutoUpdate ContainersConfModule DNSOption Entrypoint Environment EnvironmentHost
GlobalArgs Group GroupAdd HealthLogDestination HostName Label Mask NetworkAlias NoNewPrivileges
PodmanArgs ReadOnly ReadOnlyTmpfs RemapGid RemapUid RemapUidSize RemapUsers RunInit SeccompProfile
SecurityLabelDisable SecurityLabelFileType SecurityLabelLevel SecurityLabelNested
SecurityLabelType SubGIDMap SubUIDMap Unmask User WorkingDir
"""

CONTAINER: dict[str, Rule | None] = {
    **dict.fromkeys(_ALLOWED.split()),
    "AddCapability": Rule(_CAPABILITY, taken=_are_capabilities, words=True, flags=("--cap-add",)),
    "AddDevice": Rule(
        mounts.DEVICE,
        taken=mounts.is_device,
        words=True,
        flags=("--device",),
    ),
    "AddHost": Rule(
        "give NAME:ADDRESS, with an IP address or host-gateway",
        taken=_is_host_entry,
        several=True,
        flags=("--add-host",),
    ),
    "CgroupsMode": Rule(
        "give enabled, disabled, no-conmon or split",
        taken="enabled|disabled|no-conmon|split",
        flags=("--cgroups",),
    ),
    "ContainerName": Rule("set the model's `name`", flags=("--name",)),
    "DNS": Rule(
        "give an IP address, such as 9.9.9.9, or none",
        taken=_are_resolvers,
        several=True,
        flags=("--dns",),
    ),
    "DNSSearch": Rule(
        "give a domain, or . for none",
        taken=rf"\.|{_DOMAIN}(,{_DOMAIN})*",
        several=True,
        flags=("--dns-search",),
    ),
    "DropCapability": Rule(_CAPABILITY, taken=_are_capabilities, words=True, flags=("--cap-drop",)),
    "EnvironmentFile": Rule("set the option `environmentFile`", flags=("--env-file",)),
    "Exec": Rule("set the option `settings`"),
    "ExposeHostPort": Rule(
        "give a port, or two with a dash", taken=_is_port_range, several=True, flags=("--expose",)
    ),
    "GIDMap": Rule(_MAPS, taken=_MAPPING, words=True, flags=("--gidmap",)),
    # Without a check Podman refuses Notify=healthy; one that never runs is never passed
    # (libpod/healthcheck_linux.go, disableHealthCheckSystemd).
    "HealthCmd": Rule(
        HEALTH, _NONE, flags=("--health-cmd",), alone=("--no-healthcheck", "--no-health-check")
    ),
    "HealthInterval": Rule(
        f"{HEALTH}; {_GIVE_TIME}", taken=_SOME_TIME, flags=("--health-interval",)
    ),
    "HealthMaxLogCount": Rule(_NUMBER, taken=is_unsigned, flags=("--health-max-log-count",)),
    "HealthMaxLogSize": Rule(_NUMBER, taken=is_unsigned, flags=("--health-max-log-size",)),
    "HealthOnFailure": Rule(
        f"{SYSTEMD_RESTARTS}; write kill or stop",
        taken="none|kill|stop",
        flags=("--health-on-failure",),
    ),
    "HealthStartupCmd": Rule(_STARTUP, _NONE, flags=("--health-startup-cmd",)),
    "HealthRetries": Rule(
        f"{HEALTH}; give a number above 0",
        taken=lambda text: bool(unsigned(text)),
        flags=("--health-retries",),
    ),
    "HealthStartPeriod": Rule(
        "give a length of time with its unit, such as 10s, or 0",
        taken=_ANY_TIME,
        flags=("--health-start-period",),
    ),
    "HealthStartupInterval": Rule(
        f"{_STARTUP}; {_GIVE_TIME}", taken=_SOME_TIME, flags=("--health-startup-interval",)
    ),
    "HealthStartupRetries": Rule(_NUMBER, taken=is_unsigned, flags=("--health-startup-retries",)),
    "HealthStartupSuccess": Rule(_NUMBER, taken=is_unsigned, flags=("--health-startup-success",)),
    "HealthStartupTimeout": Rule(_GIVE_TIME, taken=_SOME_TIME, flags=("--health-startup-timeout",)),
    "HealthTimeout": Rule(_GIVE_TIME, taken=_SOME_TIME, flags=("--health-timeout",)),
    "IP": Rule(_ADDRESS, taken=is_address, flags=("--ip",)),
    "IP6": Rule(_ADDRESS, taken=is_address, flags=("--ip6",)),
    "Image": Rule(_IMAGE),
    "LogDriver": Rule(
        "give journald, k8s-file, none or passthrough",
        taken="journald|json-file|k8s-file|none|passthrough(-tty)?",
        flags=("--log-driver",),
    ),
    "LogOpt": Rule(
        "give KEY=VALUE, and a size for max-size",
        taken=_is_log_option,
        words=True,
        flags=("--log-opt",),
    ),
    "Mount": Rule(
        "give type=TYPE,source=SOURCE,target=TARGET, with bind, volume, image, glob, tmpfs, ramfs "
        "or devpts as TYPE (the last three without a source), an absolute TARGET, and options of "
        "podman-run(1), --mount",
        taken=mounts.is_mount,
        words=True,
        flags=("--mount",),
    ),
    "Network": Rule(
        "a model is reached by the port that Podman publishes on 127.0.0.1, and of such a network "
        "none is published; leave it out, or name another such as pasta",
        r"host|none|(container|ns):.*|.*\.container",
        several=True,
        flags=("--network",),
    ),
    "Notify": Rule(HEALTH, flags=("--sdnotify",)),
    "PidsLimit": Rule(_NUMBER, taken=is_signed, flags=("--pids-limit",)),
    "Pod": Rule(_POD, flags=("--pod", "--pod-id-file")),
    "PublishPort": Rule("set the option `port`", flags=("--publish", "-p")),
    "Pull": Rule("a tag is pulled where a newer image is found, a digest once", flags=("--pull",)),
    "Rootfs": Rule(_IMAGE, flags=("--rootfs",)),
    "Secret": Rule(
        "give NAME, and after commas type=mount or env, target=, mode=, uid= and gid=",
        taken=_is_secret,
        words=True,
        flags=("--secret",),
    ),
    "ServiceName": Rule("set the model's `name`"),
    "ShmSize": Rule("give a size such as 32g", taken=is_size, flags=("--shm-size",)),
    "StartWithPod": Rule(_POD),
    "StopSignal": Rule("name a signal", taken=f"(?i:{_SIGNAL})", flags=("--stop-signal",)),
    "StopTimeout": Rule("give seconds", taken=is_unsigned, flags=("--stop-timeout",)),
    "Sysctl": Rule(
        "give KEY=VALUE, of net. or fs.mqueue., or of IPC such as kernel.shmmax",
        taken=_SYSCTL,
        words=True,
        flags=("--sysctl",),
    ),
    "Timezone": Rule(
        "give the name of a time zone, such as Europe/Berlin, or local",
        taken=r"(?!.*\.\.)[^/\\].*",
        flags=("--tz",),
    ),
    "Tmpfs": Rule(
        "give PATH:OPTIONS, an absolute path, and options of podman-run(1), --tmpfs",
        taken=mounts.is_tmpfs,
        several=True,
        flags=("--tmpfs",),
    ),
    "UIDMap": Rule(_MAPS, taken=_MAPPING, words=True, flags=("--uidmap",)),
    "Ulimit": Rule(
        "give NAME=SOFT:HARD, the first of them no higher",
        taken=_is_limit,
        several=True,
        flags=("--ulimit",),
    ),
    "UserNS": Rule(
        "give a mode of --userns that needs no mapping beside it, such as keep-id",
        taken=_USER_NAMESPACE,
        flags=("--userns",),
    ),
    "Volume": Rule(
        "give SOURCE:TARGET:OPTIONS, absolute paths, or the name of a volume as SOURCE, and "
        "options of podman-run(1), --volume",
        taken=mounts.is_volume,
        several=True,
        flags=("--volume", "-v"),
    ),
    "VolatileTmp": Rule(
        '/tmp is mounted already; write Tmpfs = [ "" "/tmp:…" ] for another one',  # noqa: S108
        TRUE,
    ),
}
