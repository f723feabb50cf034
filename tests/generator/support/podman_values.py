"""Values of keys of [Container]: what Podman 5.4 takes as it makes a container, and what not.

`tests/host/test_podman_values.py` asks Podman itself. Beside what is here Podman refuses what
the host lacks: devices, secrets, directories, time zones, networks, ids.
"""

from typing import Any, NamedTuple


class Values(NamedTuple):
    """Values of one key.

    taken: Podman takes them, and so does llmhop.
    refused: neither does.
    late: Podman alone refuses them, when a model starts.
    """

    taken: tuple[Any, ...] = ()
    refused: tuple[Any, ...] = ()
    late: tuple[Any, ...] = ()


_COUNTS = Values(("0", "5", "0x10", "1_000", "010"), ("-1", "+5", "x", "5.5", "5s", "1__0", "08"))
_MORE_COUNTS = Values(_COUNTS.taken, ("-1", "x"))  # each asked of Podman takes its time
_LENGTHS = Values(
    ("1ns", "0.5s", "+1h1.5m.5s2ms3us4µs5ns", "1.s"), ("0s", "-1s", "5", "1d", "1 s", "s", "1.2.3s")
)
_MAPS = Values(
    ("0:0:1", "0:0", "0:@503:1", "+0:0:1", "0:0:1 1:1:5"),
    ("x", "0", "0:0:x", "0:0:1:1", "0:0:1 x", "0:-1:1"),
)

KEYS: dict[str, Values] = {
    "AddCapability": Values(
        ("SYS_NICE", "cap_sys_nice", "SYS_NICE,NET_RAW ipc_lock"),
        ("FOO", "none", "CAP_ALL", "SYS_NICE FOO", "all"),
    ),
    "AddDevice": Values(
        *(
            ("/dev/null", "/dev/null:/dev/x", "/dev/null:/dev/x:r", "/dev/null:rw", "-/dev/none"),
            ("/dev/null:/dev/x:q", "/dev/null:x", "/dev/null:/dev/x:rwm:z", "/dev/null:rr"),
            ("/dev/none", "null", "nvidia.com/gpu", "/srv"),
        )
    ),
    "AddHost": Values(
        ("h:1.2.3.4", "h:host-gateway", "h;b:::1", "h i: 1.2.3.4"),
        ("h", "h:", "h:x", ":1.2.3.4", "h:[::1]", "h;:1.2.3.4", "h:1.2.3", "h:010.0.0.1"),
    ),
    "CgroupsMode": Values(("split", "disabled", "no-conmon", "enabled"), ("foo", "Split")),
    "DNS": Values(
        ("9.9.9.9", "::1", "9.9.9.9,1.1.1.1", "::ffff:1.2.3.4", "::", "none"),
        ("x", "9.9.9.9, 1.1.1.1", "010.1.1.1", "10.88", "[::1]", "9.9.9.9,none"),
    ),
    "DNSSearch": Values(
        (".", "x", "a.b-c.example", "x,y", "example."), ("a b", "a..b", "*", "a_b", "-a", "1.2")
    ),
    "DropCapability": Values(("all", "net_raw"), ("FOO", "none", "NET_RAW,FOO")),
    "ExposeHostPort": Values(
        ("80", "80-90", "80/tcp", "80-90/udp"),
        ("80/sctp", "x", "0", "65536", "90-80", "80:80", "80-"),
    ),
    "GIDMap": Values(_MAPS.taken, ("x", "0:0:1 x")),
    "HealthCmd": Values(("true", "CMD true", '["CMD","x"]', "''"), ("[]", '""')),
    "HealthInterval": Values(_LENGTHS.taken, ("5", "x")),
    "HealthMaxLogCount": _MORE_COUNTS,
    "HealthMaxLogSize": _MORE_COUNTS,
    "HealthOnFailure": Values(("kill", "stop", "none", ""), ("foo", "KILL")),
    "HealthRetries": Values(_COUNTS.taken[1:], ("0", "0x0", "-1")),
    "HealthStartPeriod": Values(
        (*_LENGTHS.taken, "0", "-0", "0s", "-0s"), ("1", "-1s", "-0.1ms", "1d", "x")
    ),
    "HealthStartupCmd": Values(("true", "CMD"), ("[]",)),
    "HealthStartupInterval": Values(_LENGTHS.taken, ("5", "x")),
    "HealthStartupRetries": _MORE_COUNTS,
    "HealthStartupSuccess": _MORE_COUNTS,
    "HealthStartupTimeout": Values(_LENGTHS.taken, ("0s", "5")),
    "HealthTimeout": _LENGTHS,
    "LogDriver": Values(
        ("journald", "json-file", "k8s-file", "none", "passthrough", "passthrough-tty"),
        ("json", "syslog", "JOURNALD"),
        ("",),
    ),
    "LogOpt": Values(
        ("path=/srv/x", "max-size=10mb", "tag=y max-size=1.5g"),
        ("x", "max-size=x", "max-size=-1", "tag=y x"),
        ("driver=foo",),
    ),
    "Mount": Values(
        *(
            (
                "type=bind,src=/etc,dst=/m",
                "type=bind,source=/etc,target=/m,readonly=true,bind-propagation=rshared,U=false",
                "type=tmpfs,dst=/m,tmpfs-size=5m,tmpfs-mode=1777,notmpcopyup",
                "type=volume,src=v,dst=/m,volume-opt=o=x",
                "type=image,src=localhost/x,dst=/m,rw=true",
                "type=ramfs,dst=/m,noexec type=devpts,dst=/n,mode=0620",
                "type=glob,src=/et*",
                'type=tmpfs,"dst=/m"',
            ),
            (
                "bind",
                "src=/etc,dst=/m",
                "type=foo,dst=/m",
                "type=Bind,src=/etc,dst=/m",
                "type=bind , src=/etc,dst=/m",
                "type=bind,src=/etc",
                "type=bind,src=/etc,dst=/m,foo",
                "type=tmpfs,dst=/m,size=5m",
                "type=tmpfs,dst=m",
                # Of these the generator of Podman 5.4 makes no unit at all: it breaks off.
                "type=bind,dst=/m",
                "type=bind,src=,dst=/m",
                "type=volume,dst=/m",
                "type=image,dst=/m",
                "type=glob,dst=/m",
            ),
            ("type=tmpfs,dst=/m,src=x", "type=bind,src=/none,dst=/m", "type=tmpfs,dst=/m,ro,rw"),
        )
    ),
    "PidsLimit": Values(("5", "-1", "+5", "0x10", "1_000"), ("x", "5.5", "1e3", "9" * 20)),
    "Secret": Values(
        ("here", "here,type=mount,mode=0400,uid=5,gid=6", "source=here,type=env,target=A"),
        ("here,type=foo", "here,mode=9", "here,uid=a", "here,foo=bar", "here,type"),
        ("missing", "here,type=env,mode=0400"),
    ),
    "ShmSize": Values(
        ("64", "64b", "64m", "64MB", "64MiB", "64 k", "1.5g", "0", "1t"),
        ("-1", "64x", "64e", "0x10", "1_000", "64  m", "unlimited", "64kk"),
    ),
    "StopSignal": Values(
        ("SIGINT", "int", "15", "+9", "-1", "-HUP", "sigRTmin", "RTMIN+15", "SIGRTMAX-14", "64"),
        ("0", "65", "99", "SIGFOO", "RTMIN+16", "RTMIN+0", "RTMAX-15", "SIG9", "1e1", "--9"),
    ),
    "StopTimeout": _COUNTS,
    "Sysctl": Values(
        ("net.ipv4.ip_forward=1", "net.x= fs.mqueue.x=1", '"kernel.sem=32000 1024 500 32"'),
        ("a", "=1", "net.a = 1", "fs.x=1", "vm.swappiness=1", "kernel.hostname=x", "net.a=1 b=1"),
    ),
    "Timezone": Values(
        ("local", "Europe/Berlin", "UTC"), ("/etc/localtime", "..", "a/../b"), ("Mars",)
    ),
    "Tmpfs": Values(
        (
            *("/t", "/t:rw,size=787448k,mode=1777", "/t:size=50%,noexec,U", "/t:ro,rshared:x"),
            *("/t:notmpcopyup", "/t:size=x", ["", "/tmp:size=1g"]),  # noqa: S108
        ),
        (
            *("t", "/t:foo", "/t:", "/t:noexec,exec", "/t:uid=5", "/t:bind", "/t:z", "/t:noswap"),
            *("/t:SIZE=1g", "/tmp", "/tmp:size=1g", ["/t", "/t:size=1g"]),  # noqa: S108
        ),
        ("/t:size=1g,size=2g", "/t:upperdir=x"),
    ),
    "UIDMap": _MAPS,
    "Ulimit": Values(
        *(
            (
                *("memlock=-1:-1", "nofile=9", "memlock=5:-1", "nofile=-5:-3", "MEMLOCK=1", "host"),
                *("RLIMIT_NOFILE=1:2", "rlimit_Stack=4", "nofile=+5:+6", ["core=1", "core=2"]),
                *(["stack=1", "host"],),
            ),
            (
                *("nofile=9:5", "memlock=-1:5", "memlock=-1:0", "memlock", "memlok=1", "core="),
                *("nofile=x", "nofile=1:2:3", "nofile=0x10", "nofile=1_0", f"nofile={'9' * 19}"),
                *("memlock=unlimited", "memlock= 1", "memlock=:1", ["foo", "host"]),
            ),
        )
    ),
    "UserNS": Values(
        ("keep-id", "keep-id:uid=5,gid=6", "keep-id:", "keep-id:size=5", "host", "nomap", ""),
        (
            *("foo", "private", "keep-ids", "Keep-id", "keep-id:uid=x", "keep-id:foo=1", "host:x"),
            *("auto:", "auto:foo=5", "auto:size=x", "nomap:x", "keep-id:uid"),
        ),
        ("container:missing",),
    ),
    "Volume": Values(
        *(
            (
                *("/etc:/a", "/etc:/a:ro,z,noexec", "/etc:/a:U,rshared", "/etc:/a:O", "/a"),
                *("/etc:/a:idmap=uids=0-1-10", "v:/a:copy,nodev", "1.a_b-c:/a", "/etc:/a:cached"),
                *("/etc:/a:bind", ["/etc:/a", "/etc:/a"], ["v:/a:ro", "v:/a"]),
            ),
            (
                *("/etc:/a:foo", "/etc:/a:ro,rw", "/etc:/a:", "/etc:/a:ro,", "/etc:/a:ro:x"),
                *("/etc:/a:size=5", "v:/a:subpath=x", "/etc:/a:z,Z", "/etc:/a:exec,noexec"),
                *("/etc:a", "a", "/etc: /a", "~/m:/a", "a/b:/a", "_v:/a", "v :/a", "é:/a"),
                *("/etc:/tmp", "v:/root/.cache", ["/etc:/a", "/usr:/a"], ["v:/a", "w:/a"]),
                *("/etc:/root/.cache/huggingface", ["/a:/b:ro", "/a:/b"], ["v:/b", "/etc:/b"]),
            ),
            ("/none:/a", "/etc:/a:O,ro", "/etc:/a:upperdir=/x", '"/etc:/a"'),
        )
    ),
    "PodmanArgs": Values(
        *(
            (
                "--memory 1.5g --memory-swap -1 --cpus 1.5 --oom-score-adj=-5",
                "--cpus -1 --memory-reservation 64m --blkio-weight 500 -m 1g --read-only=T",
                "--label --network --annotation a=b --env -x=y --timeout 5 --cpu-quota -1",
                "--healthcheck-timeout 5s --cpu-shares 1_0 --net pasta --tz local --shm-size 1m",
            ),
            (
                *(
                    "--memory 1x",
                    "-m -1",
                    "--memory=-1",
                    "--memory-swap x",
                    "--memory-reservation x",
                ),
                *(
                    "--cpus x",
                    "--cpu-shares -1",
                    "--cpu-quota x",
                    "--oom-score-adj 1.5",
                    "--init=x",
                ),
                *(
                    "--timeout x",
                    "--blkio-weight 0x64",
                    "--annotation a",
                    "--shm-size 1x",
                    "--healthcheck-interval 5",
                ),
                *("--tz /x", "--userns=foo", "--mount type=foo,dst=/a", "--device /dev/null:q"),
                *("--secret a,b", "--cgroups x", "--gidmap x", "--expose x", "--log-opt x"),
                *("--memory", "--memory --init", "hidden", "-im", "--gpsu=all"),
            ),
            ("--umask 9", "--pid foo", "--security-opt foo", "--some-later-flag"),
        )
    ),
}

TOGETHER = Values(
    taken=(
        {"UIDMap": ["0:0:1", "1:1:5"], "GIDMap": "0:0:1"},
        {"AddCapability": "all", "DropCapability": ["", "NET_RAW"]},
        {"Mount": "type=tmpfs,dst=/tmp"},
        {"Volume": ["", "/etc:/root/.cache"], "Tmpfs": ["", "/root:size=1m"]},
        {"Volume": "/var/cache/vllm:/root/.cache/huggingface"},
        {"GroupAdd": ["44", "video"], "User": "5", "Group": "6"},
    ),
    refused=(
        {"UserNS": "keep-id", "UIDMap": "0:0:1"},
        {"UserNS": "host", "GIDMap": "0:0:1"},
        {"AddCapability": "SYS_NICE,ALL"},
        {"AddCapability": "all", "DropCapability": ["", "All"]},
        {"GroupAdd": ["keep-groups", "44"]},
        {"Volume": "/etc:/a", "Tmpfs": "/a"},
        {"Mount": "type=bind,src=/etc,dst=/tmp/"},
        {"Mount": "type=bind,src=/etc,dst=/a type=tmpfs,dst=/a"},
        {"PodmanArgs": "--ipc=host"},
    ),
    late=(
        {"NetworkAlias": "x"},
        {"IP": "10.88.0.5"},
        {"Network": ["pasta", "podman"]},
    ),
)
"""Keys that exclude one another, or do not."""


def cases(kind: str) -> list[dict[str, Any]]:
    """All values of a kind, each as the keys of one container."""
    alone = [{key: value} for key, values in KEYS.items() for value in getattr(values, kind)]
    return [*alone, *getattr(TOGETHER, kind)]
