"""What may be given to the models' user, and which ids it may have, before anything is."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from llmhop_generator.errors import GeneratorError
from llmhop_generator.layout import SYSTEM_DIRECTORIES, SYSTEM_TREES
from llmhop_generator.parse.load import parse_config

from tests.generator.support.private_host import PrivateHost, why_not
from tests.module.nix import Refused, V, evaluate, needs_nix, vllm

pytestmark = needs_nix

BOB = '{ users.users.bob = { isNormalUser = true; home = "/srv/bob"; }; }'

# Both are refused by module and generator alike.
REFUSED = {
    "the root directory": ('dataDir = "/";', "dataDir"),
    "the root directory for the cache": ('cacheDir = "/";', "cacheDir"),
    "what the home is in": ('cacheDir = "/var";', "cacheDir"),
    "a directory of the system": ('cacheDir = "/var/cache";', "cacheDir"),
    "that directory with slashes": ('cacheDir = "//etc/./";', "cacheDir"),
    "a directory below a tree": ('dataDir = "/usr/share/vllm";', "dataDir"),
    "a directory in the store": ('cacheDir = "/nix/store/x";', "cacheDir"),
    "root's home": ('dataDir = "/root/vllm";', "dataDir"),
    "what a boot empties": ('dataDir = "/run/vllm";', "dataDir"),
    "what a boot empties under another name": ('dataDir = "/var/run/vllm";', "dataDir"),
    "what systemd-tmpfiles empties": ('cacheDir = "/tmp/vllm";', "cacheDir"),
    "what it empties later": ('cacheDir = "/var/tmp/vllm";', "cacheDir"),
    "what is for services alone": ('dataDir = "/var/lib/private/vllm";', "dataDir"),
    "what is for services alone of caches": ('cacheDir = "/var/cache/private/x";', "cacheDir"),
    "the generator's": ('dataDir = "/var/lib/llmhop";', "dataDir"),
    "one in the generator's": ('cacheDir = "/var/lib/llmhop/quadlet/";', "cacheDir"),
    "one with dots": ('cacheDir = "/srv/../models";', "cacheDir"),
    "one for both": ('dataDir = "/srv/m"; cacheDir = "/srv/m";', "dataDir"),
    "one for both with a slash": ('dataDir = "/srv/m/"; cacheDir = "/srv//m";', "dataDir"),
    "the default of the other": ('cacheDir = "/var/lib/vllm";', "dataDir"),
    "the cache in the home's own": ('cacheDir = "/var/lib/vllm/.config";', "cacheDir"),
    "the cache below the home's own": (
        'cacheDir = "/srv/h/.local/x"; dataDir = "/srv/h/";',
        "cacheDir",
    ),
    "the cache around the home's own": ('cacheDir = "/var/lib/vllm/.cache";', "cacheDir"),
    "the home in the cache": ('dataDir = "/srv/m/home"; cacheDir = "/srv/m";', "dataDir"),
}
ALLOWED = {
    "the defaults": "",
    "a directory at the top": 'cacheDir = "/models"; dataDir = "/vllm";',
    "one in a directory of the system": 'cacheDir = "/srv/models";',
    "names that begin alike": 'dataDir = "/var/lib/llmhop-2"; cacheDir = "/usrs";',
    "names with dots": 'cacheDir = "/srv/..models/a..b";',
    "the cache in the home": 'cacheDir = "/var/lib/vllm/cache";',
    "the cache of a home": 'cacheDir = "/var/lib/vllm/.cache/huggingface";',
    "a cache that begins like the home's own": 'cacheDir = "/var/lib/vllm/.configs";',
    "homes that begin alike": 'dataDir = "/srv/m2"; cacheDir = "/srv/m";',
    "names like those of trees": 'dataDir = "/runs/m"; cacheDir = "/tmp2/m";',
}


def told_by_the_generator(module: str) -> list[str]:
    contract = evaluate("config.services.llmhop.contract", module)
    try:
        parse_config(json.dumps(contract).encode(), "contract")
    except GeneratorError as error:
        return [problem.where for problem in error.findings]
    return []


@pytest.mark.parametrize(("text", "option"), REFUSED.values(), ids=REFUSED.keys())
def test_what_can_not_be_the_models_own_is_refused_once_by_its_option(
    text: str, option: str
) -> None:
    (failure,) = evaluate("failures", vllm(text))
    assert failure.startswith(f"{V}.{option} is ")
    # Twice of the root directory, which can't be a volume either.
    assert {*told_by_the_generator(vllm(text))} == {f"{V}.{option}"}


@pytest.mark.parametrize("text", ALLOWED.values(), ids=ALLOWED.keys())
def test_what_can_be_the_models_own_is_not_refused(text: str) -> None:
    assert evaluate("failures", vllm(text)) == []
    assert told_by_the_generator(vllm(text)) == []


def test_every_directory_above_one_of_the_system_is_one_too() -> None:
    known = {*SYSTEM_DIRECTORIES, *SYSTEM_TREES}
    for path in map(Path, known):
        assert {str(above) for above in path.parents} <= known


def tmpfile(line: str) -> str:
    return f'{{ systemd.tmpfiles.rules = [ "{line}" ]; }}'


def service(name: str, text: str) -> str:
    return f"{{ systemd.services.{name}.serviceConfig = {{ {text} }}; }}"


TAKEN = {
    "another user's home": Refused(
        [vllm('cacheDir = "/srv/bob/";'), BOB], [f"{V}.cacheDir", "users.users.bob.home"]
    ),
    "what homes are in": Refused(
        [vllm('dataDir = "/homes";'), BOB.replace("/srv/", "/homes/")],
        [f"{V}.dataDir", "users.users.bob.home"],
    ),
    "below another user's home": Refused(
        [vllm('cacheDir = "/srv/bob/models/hf";'), BOB], [f"{V}.cacheDir", "users.users.bob.home"]
    ),
    "below the state of a dynamic user": Refused(
        [vllm('dataDir = "/var/lib/d/v";'), service("d", 'StateDirectory = "d"; DynamicUser = 1;')],
        [f"{V}.dataDir", "systemd.services.d.serviceConfig.StateDirectory"],
    ),
    "a rule of tmpfiles": Refused(
        [vllm('cacheDir = "/srv/m";'), tmpfile("d  /srv/m 0755 alice users - -")],
        [f"{V}.cacheDir", "systemd.tmpfiles.rules (`d  /srv/m 0755 alice users - -`)"],
    ),
    "a rule without a user, which is root's": Refused(
        [vllm('cacheDir = "/srv/m";'), tmpfile("d /srv/m")], ["systemd.tmpfiles.rules"]
    ),
    "a rule in quotes, with tabs, for what is below": Refused(
        [vllm('cacheDir = "/srv/m";'), tmpfile(r"v!\t\"/srv/m/a/\"\t-\tbob")],
        ["systemd.tmpfiles.rules"],
    ),
    "a rule that changes the owner": Refused(
        [vllm('cacheDir = "/srv/m";'), tmpfile("Z /srv/m - bob - - -")],
        ["systemd.tmpfiles.rules"],
    ),
    "a setting of tmpfiles": Refused(
        [
            vllm('dataDir = "/srv/m";'),
            '{ systemd.tmpfiles.settings.samba."/srv/m/".d.user = "root"; }',
        ],
        [f"{V}.dataDir", 'systemd.tmpfiles.settings.samba."/srv/m/"'],
    ),
    "a service's state": Refused(
        [vllm('dataDir = "/var/lib/db";'), service("postgres", 'StateDirectory = "x db:y";')],
        [f"{V}.dataDir", "systemd.services.postgres.serviceConfig.StateDirectory"],
    ),
    "the default of the home": Refused(
        [vllm(), service("vllm-old", 'StateDirectory = "vllm";')], [f"{V}.dataDir is /var/lib/vllm"]
    ),
    "a service's cache": Refused(
        [vllm(), service("ollama", 'CacheDirectory = [ "a" "vllm/b" ];')],
        [f"{V}.cacheDir", "systemd.services.ollama.serviceConfig.CacheDirectory"],
    ),
}


@pytest.mark.parametrize("case", TAKEN.values(), ids=TAKEN.keys())
def test_what_another_option_gives_to_somebody_is_told_with_that_option(case: Refused) -> None:
    (failure,) = evaluate("failures", *case.modules)
    assert [name for name in case.names if name not in failure] == []
    # And with one that would do.
    directory = "dataDir" if f"{V}.dataDir is" in failure else "cacheDir"
    advice = failure.rpartition("such as ")[2].removesuffix(".")
    taken = f'{{ lib, ... }}: {{ {V}.{directory} = lib.mkForce "{advice}"; }}'
    assert evaluate("failures", *case.modules, taken) == []


FREE = {
    "rules for the models' user": [
        tmpfile("d /srv/m 0750 vllm vllm"),
        tmpfile("d /srv/m 0750 :503 -"),
    ],
    "rules that make no directory of it": [
        tmpfile("Z /srv/m 0750"),
        tmpfile("x /srv/m"),
        tmpfile("L+ /srv/m/link - - - - /etc/hosts"),
        tmpfile("d /srv/m2 0755 bob"),
        tmpfile(""),
    ],
    "a service of the models' user": [
        service("fetch", 'User = "vllm"; StateDirectory = "vllm/fetch";'),
        service("by-number", 'User = 503; CacheDirectory = "vllm";'),
    ],
    "others' directories beside": [
        service("other", 'StateDirectory = "vllm2"; CacheDirectory = ""; LogsDirectory = "vllm";'),
        BOB,
    ],
    "a directory below one of root's": [
        tmpfile("d /srv 0755 root root"),
        tmpfile("d /srv 0755"),
        tmpfile("d /srv 0755 0 0"),
    ],
    "a directory below one of somebody": [
        tmpfile("d /srv 0775 bob users -"),
    ],
    "a directory in a home that others may enter": [
        BOB.replace('"/srv/bob"', '"/srv"; homeMode = "0711"'),
    ],
    "a directory in a home that its group may enter": [
        BOB.replace('"/srv/bob"', '"/srv"; homeMode = "750"'),
    ],
    "a home that nobody makes": [
        '{ users.users.db = { isSystemUser = true; group = "users"; home = "/srv"; }; }'
    ],
    "a user who is turned off": [
        BOB,
        '{ lib, ... }: { users.users.bob = { enable = false; home = lib.mkForce "/srv/m"; }; }',
    ],
}


@pytest.mark.parametrize("modules", FREE.values(), ids=FREE.keys())
def test_what_nobody_else_has_may_be_the_models(modules: list[str]) -> None:
    assert evaluate("failures", vllm('cacheDir = "/srv/m";'), *modules) == []


@pytest.mark.parametrize("option", ["dataDir", "cacheDir"])
@pytest.mark.parametrize("path", ["/srv/a:b", r"/srv/a\nb"])
def test_a_path_that_nixos_takes_for_no_home_is_told_by_its_own_option(
    option: str, path: str
) -> None:
    module = vllm(f'{option} = "{path}";')

    assert evaluate("host.users.users.vllm.isSystemUser", module) is True
    assert evaluate("host.users.users.vllm.home", module).startswith("/")
    assert evaluate("failures", module) == []
    assert {*told_by_the_generator(module)} == {f"{V}.{option}"}


needs_namespaces = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


def before_switch(host: PrivateHost, *modules: str) -> "subprocess.CompletedProcess[str]":
    """Run what NixOS runs before a switch to a configuration, in the shell of nixpkgs."""
    script = evaluate("generation.preSwitchChecks", *modules)
    contract = evaluate("contractText", *modules)
    host.put("srv/contract.json", contract)
    script = re.sub(r"/nix/store/\S*-llmhop-contract.json", "/srv/contract.json", script)
    own = f"{sys.executable} -m llmhop_generator"
    script = re.sub(r"/nix/store/\S*/bin/llmhop-generator", own, script)
    host.put("srv/pre-switch-checks", script)
    return subprocess.run(
        host.command("--version", before="bash /srv/pre-switch-checks || exit"),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **host.environment},
    )


@pytest.fixture
def host(tmp_path: Path) -> PrivateHost:
    return PrivateHost(tmp_path)


def passwd(uid: int, gid: int) -> str:
    return f"root:x:0:0::/root:/bin/sh\nvllm:x:{uid}:{gid}::/var/lib/vllm:/bin/false\n"


@needs_namespaces
def test_a_switch_on_a_host_without_the_user_goes_on(host: PrivateHost) -> None:
    done = before_switch(host, vllm())
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1  # of what comes after
    assert done.stderr == ""
    remote = (
        '{ services.llmhop.settings.models.b.url = "http://h"; services.llmhop.enable = true; }'
    )
    assert evaluate("config.system.preSwitchChecks", remote) == {}


@needs_namespaces
@pytest.mark.parametrize(
    ("uid", "gid", "told"),
    [
        (503, 503, []),
        (600, 503, [f"{V}.uid: is 503, but the user vllm has 600 on this host"]),
        (503, 600, [f"{V}.gid: is 503, but the group vllm has 600 on this host"]),
        (
            600,
            600,
            [
                f"{V}.gid: is 503, but the group vllm has 600 on this host",
                f"{V}.uid: is 503, but the user vllm has 600 on this host",
            ],
        ),
    ],
)
def test_a_switch_is_refused_where_nixos_would_keep_another_id(
    uid: int, gid: int, told: list[str], host: PrivateHost
) -> None:
    host.put("etc/passwd", passwd(uid, gid))
    host.put("etc/group", f"root:x:0:\nvllm:x:{gid}:\n")
    done = before_switch(host, vllm())
    assert done.returncode == (1 if told else 0), done
    _, *found = done.stderr.splitlines() or [""]
    assert [line.strip().partition(", and NixOS")[0] for line in found] == told
    assert all("/var/lib/vllm, /var/cache/vllm" in line for line in found)


@needs_namespaces
def test_a_switch_is_refused_where_somebody_has_the_ids(host: PrivateHost) -> None:
    host.put("etc/passwd", "root:x:0:0::/root:/bin/sh\nalice:x:503:100::/home/alice:/bin/sh\n")
    host.put("etc/group", "root:x:0:\nstaff:x:503:\n")
    done = before_switch(host, vllm())
    assert done.returncode == 1, done
    _, *found = done.stderr.splitlines()
    assert [line.strip().partition(";")[0] for line in found] == [
        f"{V}.gid: 503 is staff's on this host",
        f"{V}.uid: 503 is alice's on this host",
    ]


def renamed(
    *, home: str = "/var/lib/vllm", users: str = "root vllm", groups: str = "vllm"
) -> dict[str, str]:
    """What a host has that was switched to models of the user vllm."""
    return {
        "etc/passwd": f"root:x:0:0::/root:/bin/sh\nvllm:x:503:503::{home}:/bin/false\n",
        "etc/group": "root:x:0:\nvllm:x:503:\n",
        "var/lib/nixos/declarative-users": users,
        "var/lib/nixos/declarative-groups": groups,
    }


@needs_namespaces
@pytest.mark.parametrize(
    ("files", "options", "told"),
    [
        (renamed(), 'user = "ai";', []),
        (renamed(), 'user = "ai"; group = "ai";', []),
        (renamed(), 'group = "ai";', []),
        (renamed(home="/var/lib/vllm/"), 'user = "ai";', []),
        (renamed(home="/srv/other"), 'user = "ai"; group = "ai";', ["gid", "uid"]),
        (renamed(users="root vllm2"), 'user = "ai"; group = "ai";', ["gid", "uid"]),
        (renamed(groups="root"), 'user = "ai"; group = "ai";', ["gid"]),
    ],
)
def test_a_switch_may_give_the_models_user_and_group_another_name(
    files: dict[str, str], options: str, told: list[str], host: PrivateHost
) -> None:
    for path, text in files.items():
        host.put(path, text)
    done = before_switch(host, vllm(options))
    _, *found = done.stderr.splitlines() or [""]
    assert [line.strip().partition(";")[0] for line in found] == [
        f"{V}.{key}: 503 is vllm's on this host" for key in told
    ]
    assert done.returncode == (1 if told else 0), done


@needs_namespaces
def test_a_switch_is_refused_where_somebody_has_the_directory(host: PrivateHost) -> None:
    module = vllm('cacheDir = "/srv/shared"; dataDir = "/srv/link";')
    host.put("srv/shared/lost+found/x", "")
    (host.root / "srv/link").symlink_to("/srv/shared")
    assert before_switch(host, module).returncode == 0  # as a disk that was just mounted

    host.put("srv/shared/theirs", "")
    done = before_switch(host, module)
    assert done.returncode == 1
    title, *found = done.stderr.splitlines()
    assert title == "error: this host can't be switched so, and nothing was changed"
    assert [line.split(", not to")[0].strip() for line in found] == [
        f"{V}.cacheDir: /srv/shared is there and belongs to root",
        f"{V}.dataDir: /srv/link is there and belongs to root",
    ]
