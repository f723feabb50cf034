"""Keys and arguments by which a deployer would undo what llmhop relies on, each by its option."""

import json
import signal
from typing import Any

import pytest
from llmhop_generator.contract.keys.arguments import SWITCHES
from llmhop_generator.contract.keys.container import CONTAINER
from llmhop_generator.errors import GeneratorError
from llmhop_generator.parse.load import parse_config

from tests.generator.conftest import MINIMAL

WHERE = "services.llmhop.vllm.models.qwen2-5-7b"


def findings(option: str, keys: dict[str, Any], *, general: bool = False) -> list[str]:
    config = json.loads(json.dumps(MINIMAL))
    place = config["vllm"] if general else config["vllm"]["models"]["qwen2-5-7b"]
    place[option] = keys
    try:
        parse_config(json.dumps(config).encode(), "config.json")
    except GeneratorError as error:
        return [str(problem) for problem in error.findings]
    return []


# What is set of containerConfig, and what the message has to say of it.
REFUSED: list[tuple[str, Any, str]] = [
    ("Network", "host", 'must not be "host": a model is reached by the port that Podman publishes'),
    ("Network", "none", 'must not be "none"'),
    ("Network", '"host"', 'must not be "host"'),
    ("Network", ["pasta", "host"], 'must not be "host"'),
    ("Network", "container:other", 'must not be "container:other"'),
    ("Network", "ns:/run/netns/x", 'must not be "ns:/run/netns/x"'),
    ("Network", "other.container", 'must not be "other.container"'),
    ("Pod", "x.pod", "is not for containerConfig: a pod publishes the ports of its containers"),
    ("StartWithPod", True, "is not for containerConfig"),
    ("PublishPort", "80:80", "set the option `port`"),
    ("ContainerName", "x", "set the model's `name`"),
    ("Image", "x", "set the options `image` and `tag`, or `digest`"),
    ("Rootfs", "/srv/root", "set the options `image` and `tag`, or `digest`"),
    ("Exec", "x", "set the option `settings`"),
    ("Notify", True, "a model is up when its health check says so"),
    ("HealthCmd", "none", 'must not be "none": a model is up when its health check says so'),
    ("HealthCmd", "NONE", 'must not be "NONE"'),
    ("HealthCmd", "", "must not be empty: a model is up when its health check says so"),
    ("HealthCmd", ["true", ""], "must not be empty"),
    ("HealthInterval", "disable", 'must not be "disable": a model is up'),
    ("HealthInterval", 0, 'must not be "0"'),
    ("HealthInterval", "0m0s", 'must not be "0m0s"'),
    ("HealthRetries", 0, 'must not be "0": a model is up when its health check says so; give a'),
    ("HealthRetries", -1, 'must not be "-1"'),
    ("HealthRetries", 1.5, 'must not be "1.5"'),
    ("HealthStartPeriod", "-1s", 'must not be "-1s": give a length of time with its unit'),
    ("HealthStartupRetries", "many", 'must not be "many": give a number'),
    ("HealthStartupSuccess", -1, 'must not be "-1": give a number'),
    ("PodmanArgs", "--health-timeout=0", 'must not have --health-timeout "0": give a length'),
    ("PodmanArgs", "--health-retries 0", 'must not have --health-retries "0"'),
    ("PodmanArgs", "--health-start-period=1", 'must not have --health-start-period "1"'),
    ("PodmanArgs", "--health-startup-timeout=-1s", 'must not have --health-startup-timeout "-1s"'),
    *(
        (key, value, f'must not be "{value}": ')
        for key in ("HealthInterval", "HealthTimeout", "HealthStartupInterval")
        for value in ("-1s", "0", "0s", "0.0h", "20", "5", "disable", "1d", "1 s", "s", "1.2.3s")
    ),
    *(
        (key, value, f'must not be "{value}": give an IP address')
        for key in ("IP", "IP6", "DNS")
        for value in ("10.88.0.300", "010.0.0.1", "10.88", "fd00::g", "[::1]", "gpu.example", "1")
    ),
    *(
        ("AddHost", value, f'must not be "{value}": give NAME:ADDRESS')
        for value in (
            "h:10.0.0.300",
            "h:[::1]",
            "h",
            "h:",
            ":10.0.0.1",
            "h=10.0.0.1",
            "h:localhost",
        )
    ),
    ("DNS", ["9.9.9.9", "9.9.9.300"], 'must not be "9.9.9.300"'),
    ("DNS", "9.9.9.9,none", 'must not be "9.9.9.9,none"'),
    ("PodmanArgs", "--ip=10.88.0.300", 'must not have --ip "10.88.0.300": give an IP address'),
    ("PodmanArgs", "--ip6 fd00", 'must not have --ip6 "fd00": give an IP address'),
    ("PodmanArgs", "--dns 9.9.9.300", 'must not have --dns "9.9.9.300": give an IP address'),
    ("PodmanArgs", "--add-host=h:1.2.3", 'must not have --add-host "h:1.2.3": give NAME'),
    ("HealthStartupTimeout", "0s", 'must not be "0s": give a length above 0 with its unit'),
    ("PodmanArgs", "hidden", "has a word that is no flag and belongs to none, and Podman would"),
    ("PodmanArgs", "--init hidden", "has a word after --init that is no flag"),
    ("PodmanArgs", ["--memory 1g", "hidden"], "has a word after --memory that is no flag"),
    ("PodmanArgs", "--env A=b hidden", "would take it for the image; remove it, or put a value"),
    ("PodmanArgs", "--memory=1g hidden", "has a word after --memory"),
    ("PodmanArgs", "-itm1g hidden", "has a word after -m"),
    ("PodmanArgs", "-it hidden", "has a word after -t"),
    ("PodmanArgs", "-m 1g -- --init", "has a word after -m"),
    ("PodmanArgs", "--init --memory", "has --memory without a value, and would take the image"),
    ("PodmanArgs", "-im", "has -m without a value"),
    ("GlobalArgs", "--log-level debug hidden", "would take it for the command"),
    ("GlobalArgs", "--log-level", "has --log-level without a value, and would take the command"),
    ("HealthStartupCmd", "none", 'must not be "none": until a model is loaded'),
    ("HealthStartupCmd", "", "must not be empty: until a model is loaded"),
    ("HealthStartupInterval", "disable", 'must not be "disable"'),
    ("HealthOnFailure", "restart", 'must not be "restart": systemd restarts'),
    ("VolatileTmp", True, 'must not be "true": /tmp'),
    ("GlobalArgs", "--root=/srv/x", "must not have --root: Podman"),
    ("GlobalArgs", ["--log-level=debug", "--remote"], "must not have --remote"),
    ("PodmanArgs", "--network=host", 'must not have --network "host": a model is reached'),
    ("PodmanArgs", "--network host", 'must not have --network "host"'),
    ("PodmanArgs", "--net=none", 'must not have --network "none"'),
    ("PodmanArgs", ["--log-level=debug", "--init --net 'host'"], 'must not have --network "host"'),
    ("PodmanArgs", "-p 80:80", "must not have -p: set the option `port`"),
    ("PodmanArgs", "-itp80:80", "must not have -p"),
    ("PodmanArgs", "--publish=80:80", "must not have --publish"),
    ("PodmanArgs", "--name x", "must not have --name"),
    ("PodmanArgs", "--pod new:x", "must not have --pod"),
    ("PodmanArgs", "--sdnotify=conmon", "must not have --sdnotify"),
    ("PodmanArgs", "--no-healthcheck", "must not have --no-healthcheck"),
    ("PodmanArgs", "--health-cmd=none", 'must not have --health-cmd "none"'),
    ("PodmanArgs", "--health-interval disable", 'must not have --health-interval "disable"'),
    ("PodmanArgs", "--restart=always", "must not have --restart: systemd restarts"),
    ("PodmanArgs", "--rm=false", 'must not have --rm "false"'),
    ("PodmanArgs", "--cidfile=/x", "must not have --cidfile"),
    ("PodmanArgs", "--ipc=host", 'must not have --ipc "host": Podman takes no ShmSize'),
    ("PodmanArgs", "--env-file /etc/x", "must not have --env-file"),
    # Podman would refuse these as a model starts.
    *(
        ("Volume", value, f'must not be "{value}": give SOURCE:TARGET')
        for value in ("~/m:/m", "a/b:/m", "models:models", "models", "/m:m", "-a:/m")
    ),
    ("PodmanArgs", "-v ~/m:/m", 'must not have -v "~/m:/m": give SOURCE:TARGET:OPTIONS'),
    ("UserNS", "keep-ids", 'must not be "keep-ids": give a mode of --userns'),
    ("UserNS", "ns:", 'must not be "ns:"'),
    ("StopSignal", "SIGINTT", 'must not be "SIGINTT": name a signal'),
    (
        "AddCapability",
        "SYS_NICE CAP_SYS_NICEE",
        'must not be "CAP_SYS_NICEE": give names of capabilities(7)',
    ),
    ("DropCapability", ["ALL", "FOO"], 'must not be "FOO": give names'),
    ("PodmanArgs", "--cap-add=FOO", 'must not have --cap-add "FOO"'),
    *(
        ("Ulimit", value, f'must not be "{value}": give NAME=SOFT:HARD')
        for value in ("memlock", "memlok=1", "memlock=x", "memlock=1:2:3", "core=")
    ),
    ("Sysctl", "net.core.somaxconn", "give KEY=VALUE"),
    ("LogDriver", "json", 'must not be "json": '),
    ("Tmpfs", "x:size=1g", "give PATH:OPTIONS, an absolute path"),
    ("PidsLimit", "many", "give a number"),
    ("StopTimeout", "10s", "give seconds"),
    ("PodmanArgs", "--gpsu=all", "has --gpsu, which Podman does not know; write --gpus"),
    ("PodmanArgs", "--init --memroy 1g", "has --memroy, which Podman does not know; write"),
    ("PodmanArgs", "-it --labels=a", "has --labels, which Podman does not know; write --label"),
    ("GlobalArgs", "--log-levle=debug", "has --log-levle, which Podman does not know; write"),
]


@pytest.mark.parametrize("general", [False, True])
@pytest.mark.parametrize(("key", "value", "what"), REFUSED, ids=str)
def test_what_undoes_what_llmhop_relies_on_is_refused(
    key: str, value: Any, what: str, general: bool
) -> None:
    (told,) = findings("containerConfig", {key: value}, general=general)
    where = "services.llmhop.vllm" if general else WHERE
    assert told.startswith(f"{where}.containerConfig.{key}: "), told
    assert what in told


TAKEN: list[dict[str, Any]] = [
    {"Network": "pasta:--map-gw"},
    {"Network": "slirp4netns:port_handler=slirp4netns"},
    {"Network": "bridge"},
    {"Network": ["models.network:ip=10.0.0.2", "hosts"]},
    {"Network": ["host", "", "pasta"]},
    {"Network": []},
    {"HealthCmd": "curl -f http://127.0.0.1:8000/none"},
    {"HealthInterval": "30s"},
    {"HealthInterval": "1m0s"},
    {"HealthInterval": "1h1.5m.5s2ms3us4µs5ns"},
    {"HealthInterval": "+5s"},
    {"HealthInterval": ""},
    {"HealthInterval": ["-1s", "5s"]},
    {"HealthInterval": "%i"},
    {"HealthTimeout": "5s", "HealthStartupTimeout": "1m", "HealthStartupInterval": "2s"},
    {"HealthStartPeriod": "0", "HealthRetries": 1},
    {"HealthStartPeriod": "0s", "HealthStartupRetries": 0, "HealthStartupSuccess": "0"},
    {"HealthOnFailure": "none"},
    {"HealthStartupCmd": "test -e /none"},
    {"VolatileTmp": False},
    {"GlobalArgs": ["--log-level=debug", "--cdi-spec-dir=/etc/cdi", "--syslog"]},
    {"GlobalArgs": ["--syslog", "--noout"], "PodmanArgs": ["--init", "--no-session"]},
    {"PodmanArgs": "--network=pasta --network-alias host"},
    {"PodmanArgs": "--label host --label=--network"},
    {"PodmanArgs": ["--network=host", "", "--init"]},
    {"PodmanArgs": "--ipc=host", "ShmSize": ""},
    {"PodmanArgs": "--pids-limit=-1 -P -v/p:/p -e A=b"},
    {"PodmanArgs": "--label 'unclosed"},
    {"PodmanArgs": ["--memory", "1g"]},
    {"PodmanArgs": "--label -x --env='a b' -t -e 'c d' --init=false"},
    {"PodmanArgs": "--health-cmd='curl none'"},
    {"LogDriver": "none"},
    {"LogDriver": "%i"},
    {"Volume": ["./m:/m"]},
    {"Volume": ["/m:/m:ro,z", "models:/m", "x.volume:/m", "/only", "%h/m:/m", "a.b_c-1:/m", ""]},
    {"Volume": ["~/m:/m", "", "/m:/m"], "PodmanArgs": "-v models:/m --volume=/a:/b"},
    *({"UserNS": m} for m in ("auto", "auto:size=9", "keep-id", "host", "nomap", "")),
    {"UserNS": ["keep-id", ""], "UIDMap": "0:0:1"},
    {"UIDMap": "0:0:1", "GIDMap": ["0:0:1", "1:1:9"], "SubUIDMap": "x"},
    *({"StopSignal": name} for name in ("SIGINT", "int", 15, "SIGRTMIN+3", "RTMIN", "KILL")),
    {"AddCapability": ["CAP_SYS_NICE", "sys_ptrace ipc_lock"], "DropCapability": "NET_RAW"},
    {"AddCapability": "all", "DropCapability": ["", "NET_RAW"]},
    {"Ulimit": ["memlock=-1:-1", "nofile=9", "stack=-1", "host"], "Sysctl": "net.b=1 net.d=2"},
    {"Tmpfs": ["/x", "/y:size=1g"], "PidsLimit": -1, "StopTimeout": 120},
    {"GroupAdd": "keep-groups"},
    {"GroupAdd": ["44", "render"]},
    {"GroupAdd": ["44", "", "keep-groups"]},
    {"PodmanArgs": "--gpus=all --some-later-flag=x --ip6 fd00::9 --hostname a -h b"},
    {"PodmanArgs": "--health-startup-delay=1s"},
    *({"StopSignal": name} for name in signal.Signals.__members__),
    {"IP": "10.88.0.9", "IP6": "fd00::9", "DNS": ["9.9.9.9,::1", "none"], "AddHost": ""},
    {"IP": "%i", "DNS": [], "AddHost": ["h:$A", "a;b:10.0.0.1", "h:::1", "h:host-gateway"]},
    {"DNS": ["9.9.9.300", "", "9.9.9.9"], "PodmanArgs": "--add-host 'h: 10.0.0.1' --dns none"},
    {"UserNS": "keep-id:uid=1000", "User": 1000},
]


@pytest.mark.parametrize("keys", TAKEN, ids=str)
def test_what_leaves_a_model_as_it_is_known_is_taken(keys: dict[str, Any]) -> None:
    assert findings("containerConfig", keys) == []


@pytest.mark.parametrize(
    "key", [key for key, rule in CONTAINER.items() if rule is None and key not in SWITCHES]
)
def test_a_key_that_is_allowed_is_taken_whatever_it_is_set_to(key: str) -> None:
    for value in ("host", "none", "disable", "restart", True, 0):
        assert findings("containerConfig", {key: value}) == []


OF_SYSTEMD: list[tuple[str, str, Any, str]] = [
    ("serviceConfig", "Type", "oneshot", "a model is up when its health check says so"),
    ("serviceConfig", "ExecStart", "x", "Podman writes it"),
    ("serviceConfig", "User", "root", "set the option `user`"),
    ("serviceConfig", "Group", "root", "set the option `group`"),
    ("serviceConfig", "DynamicUser", True, "set the option `user`"),
    (
        "serviceConfig",
        "RemainAfterExit",
        "yes",
        'must not be "yes": a model whose engine has ended',
    ),
    ("serviceConfig", "Nice", -5, 'must not be "-5": only root may'),
    ("serviceConfig", "OOMScoreAdjust", "-500", 'must not be "-500": only root may'),
    ("serviceConfig", "CPUSchedulingPolicy", "fifo", 'must not be "fifo": only root may'),
    ("serviceConfig", "IOSchedulingClass", "realtime", 'must not be "realtime": only root may'),
    ("serviceConfig", "SupplementaryGroups", ["render"], 'must not be "render": only root may'),
    ("serviceConfig", "CapabilityBoundingSet", "", "is not for serviceConfig: only root may"),
    ("serviceConfig", "AmbientCapabilities", "CAP_NET_RAW", "only root may"),
    *(
        ("serviceConfig", key, value, f'{value}": rootless Podman starts no container in it')
        for key, value in {
            "NoNewPrivileges": "true",
            "RestrictNamespaces": "yes",
            "LockPersonality": "on",
            "SystemCallFilter": "@system-service",
            "RestrictAddressFamilies": "AF_INET",
            "ProtectSystem": "strict",
            "ProtectHome": "read-only",
            "PrivateTmp": "1",
            "PrivateUsers": "self",
            "ReadOnlyPaths": "/srv",
            "ProtectProc": "invisible",
        }.items()
    ),
    ("unitConfig", "RefuseManualStart", True, 'must not be "true": `apply` starts'),
    ("unitConfig", "RefuseManualStop", "on", 'must not be "on": `apply` starts'),
]


@pytest.mark.parametrize(("option", "key", "value", "what"), OF_SYSTEMD, ids=str)
def test_keys_of_systemd_that_a_model_can_not_have(
    option: str, key: str, value: Any, what: str
) -> None:
    (told,) = findings(option, {key: value})
    assert told.startswith(f"{WHERE}.{option}.{key}: "), told
    assert what in told


@pytest.mark.parametrize(
    ("option", "keys"),
    [
        ("serviceConfig", {"RemainAfterExit": False, "Restart": "no", "ExecStartPre": ["", "/x"]}),
        ("serviceConfig", {"Nice": 5, "OOMScoreAdjust": 500, "CPUSchedulingPolicy": "idle"}),
        ("serviceConfig", {"NoNewPrivileges": False, "ProtectHome": "no", "ReadOnlyPaths": ""}),
        ("serviceConfig", {"ProtectProc": "default", "IOSchedulingClass": "idle", "Nice": "%i"}),
        ("unitConfig", {"RefuseManualStart": "no", "After": "a.service"}),
    ],
)
def test_other_keys_of_systemd_are_taken(option: str, keys: dict[str, Any]) -> None:
    assert findings(option, keys) == []


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, v, _ in REFUSED if "hidden" in str(v)])
def test_a_word_that_may_be_a_secret_is_not_repeated(key: str, value: Any) -> None:
    assert "hidden" not in str(findings("containerConfig", {key: value}))


def test_every_argument_is_told_at_once_and_no_value_that_may_be_a_secret() -> None:
    arguments = "--name=hidden --publish hidden:80 --env-file=/hidden --network=host"
    found = findings("containerConfig", {"PodmanArgs": arguments})
    assert len(found) == 4
    assert "hidden" not in str(found)


@pytest.mark.parametrize(
    "value",
    [
        *("--env HF_TOKEN=hf_abc", "--env=HF_TOKEN=hf_abc", "-eHF_TOKEN=hf_abc"),
        *("-ie HF_TOKEN=hf_abc", ["--env", "HF_TOKEN=hf_abc"], ["-e", "'HF_TOKEN=hf_abc'"]),
    ],
)
def test_a_secret_in_arguments_is_told_and_not_repeated(value: Any) -> None:
    (told,) = findings("containerConfig", {"PodmanArgs": value})
    assert told.startswith(f"{WHERE}.containerConfig.PodmanArgs: sets HF_TOKEN, a secret"), told
    assert "hf_abc" not in told
