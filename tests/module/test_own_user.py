"""A user that the deployer declares: what of it must fit, and what is warned of."""

import json

import pytest
from llmhop_generator.errors import GeneratorError
from llmhop_generator.parse.load import parse_config

from tests.module.nix import NixError, Refused, V, assert_one_message, evaluate, needs_nix, vllm

pytestmark = needs_nix

AI = {
    "uid": "503",
    "group": '"ai"',
    "home": '"/var/lib/vllm"',
    "linger": "true",
    "subUidRanges": "[ { startUid = 300000; count = 65536; } ]",
    "subGidRanges": "[ { startGid = 200000; count = 200000; } ]",
}
GID = "{ users.groups.ai.gid = 503; }"


def deployers(name: str = "ai", **changes: str) -> str:
    """A module that declares a user of the deployer's; an empty text leaves an option unset."""
    options = "".join(f"{key} = {text}; " for key, text in (AI | changes).items() if text)
    return f'{{ users.users."{name}" = {{ {options} }}; }}'


def own_user(text: str = "") -> str:
    return vllm(f'user = "ai"; {text}')


FITTING = {
    "just what is asked for": [own_user(), deployers(), GID],
    "more ranges, and a larger one": [
        own_user(),
        deployers(
            subUidRanges="""[
              { startUid = 100000; count = 65536; }
              { startUid = 290000; count = 100000; }
              { startUid = 500000; count = 1; }
            ]"""
        ),
        GID,
    ],
    "another home, and dataDir with it": [
        own_user('dataDir = "/srv/ai/";'),
        deployers(home='"/srv/ai"'),
        GID,
    ],
    "a gid of its own": [own_user("gid = 600;"), deployers(), "{ users.groups.ai.gid = 600; }"],
    "a group of another name": [
        own_user('group = "staff"; gid = 50;'),
        deployers(group='"staff"'),
        "{ users.groups.staff.gid = 50; }",
    ],
    "a range in two parts that follow one another": [
        own_user(),
        deployers(
            subUidRanges="""[
              { startUid = 340000; count = 25536; }
              { startUid = 300000; count = 40000; }
            ]"""
        ),
        GID,
    ],
    "a user by another attribute": [
        own_user(),
        deployers("models").replace("uid = 503;", 'uid = 503; name = "ai";'),
        GID,
    ],
    "a user whose linger NixOS leaves alone": [
        own_user(),
        deployers(linger=""),
        GID,
        "{ users.manageLingering = false; }",
    ],
    "a group of NixOS's own": [
        vllm('group = "staff"; gid = 50;'),
        "{ users.groups.staff.gid = 50; }",
    ],
    "names with dots": [
        vllm('user = "a.i"; group = "a.g";'),
        deployers("a.i", group='"a.g"'),
        '{ users.groups."a.g".gid = 503; }',
    ],
}


@pytest.mark.parametrize("modules", FITTING.values(), ids=FITTING.keys())
def test_a_deployers_user_that_fits_is_accepted(modules: list[str]) -> None:
    assert evaluate("failures", *modules) == []
    assert evaluate("warnings", *modules) == []


UNFIT = {
    "another uid": Refused(
        [own_user(), deployers(uid="600"), GID], [f"{V}.uid is 503", "users.users.ai.uid", "600"]
    ),
    "a uid that NixOS would choose": Refused(
        [own_user(), deployers(uid="", isSystemUser="true"), GID],
        [f"{V}.uid is 503", "users.users.ai.uid", "not set"],
    ),
    "another gid": Refused(
        [own_user(), deployers(), "{ users.groups.ai.gid = 600; }"],
        [f"{V}.gid is 503", "users.groups.ai.gid", "600"],
    ),
    "a gid that NixOS would choose": Refused(
        [own_user(), deployers(), "{ users.groups.ai = { }; }"],
        [f"{V}.gid is 503", "users.groups.ai.gid", "not set"],
    ),
    "another group": Refused(
        [own_user(), deployers(group='"staff"'), "{ users.groups.staff.gid = 503; }"],
        [f"{V}.group is `ai`", "users.users.ai.group", "`staff`"],
    ),
    "another home": Refused(
        [own_user(), deployers(home='"/home/ai"'), GID],
        [f"{V}.dataDir is /var/lib/vllm", "users.users.ai.home", "/home/ai"],
    ),
    "the home that NixOS gives": Refused(
        [own_user(), deployers(home=""), GID], [f"{V}.dataDir", "users.users.ai.home", "/var/empty"]
    ),
    "another dataDir": Refused(
        [own_user('dataDir = "/srv/ai";'), deployers(), GID],
        [f"{V}.dataDir is /srv/ai", "users.users.ai.home", "/var/lib/vllm"],
    ),
    "the module's own user at another home": Refused(
        [vllm(), '{ lib, ... }: { users.users.vllm.home = lib.mkForce "/home/vllm"; }'],
        [f"{V}.dataDir is /var/lib/vllm", "users.users.vllm.home", "/home/vllm"],
    ),
    "a range that is too short": Refused(
        [own_user(), deployers(subUidRanges="[ { startUid = 300000; count = 1000; } ]"), GID],
        [f"{V}.subUidStart", "users.users.ai.subUidRanges"],
    ),
    "a range that begins too high": Refused(
        [own_user(), deployers(subGidRanges="[ { startGid = 300001; count = 65536; } ]"), GID],
        [f"{V}.subGidStart", "users.users.ai.subGidRanges"],
    ),
    "ranges that overlap": Refused(
        [
            own_user(),
            deployers(
                subUidRanges="""[
                  { startUid = 300000; count = 65536; }
                  { startUid = 100000; count = 200001; }
                ]"""
            ),
            GID,
        ],
        ["users.users.ai.subUidRanges", "300000-365535", "100000-300000"],
    ),
    "no range": Refused(
        [own_user(), deployers(subUidRanges=""), GID],
        [f"{V}.subUidStart", "users.users.ai.subUidRanges"],
    ),
    "an automatic range that can't be the one": Refused(
        [own_user(), deployers(subUidRanges="", autoSubUidGidRange="true"), GID],
        [f"{V}.subUidStart", "users.users.ai.subUidRanges"],
    ),
    "a range in two parts with an id between them": Refused(
        [
            own_user(),
            deployers(
                subUidRanges="""[
                  { startUid = 300000; count = 40000; }
                  { startUid = 340001; count = 25536; }
                ]"""
            ),
            GID,
        ],
        [f"{V}.subUidStart", "users.users.ai.subUidRanges"],
    ),
    "a user that is turned off": Refused(
        [own_user(), deployers(enable="false"), GID],
        [f"{V}.user is `ai`", "users.users.ai.enable is false"],
    ),
    "the module's own user, turned off": Refused(
        [vllm(), "{ users.users.vllm.enable = false; }"],
        [f"{V}.user is `vllm`", "users.users.vllm.enable is false"],
    ),
    "a user of another name": Refused(
        [own_user(), deployers().replace("uid = 503;", 'uid = 503; name = "x";'), GID],
        [f"{V}.user is `ai`", "users.users.ai.name", "`x`"],
    ),
    "the module's own user under another name": Refused(
        [vllm(), '{ users.users.vllm.name = "models"; }'],
        [f"{V}.user is `vllm`", "users.users.vllm.name", "`models`"],
    ),
    "root": Refused(
        [
            vllm('user = "root";'),
            '{ users.groups.root.gid = 0; users.users.root = { uid = 0; group = "root"; }; }',
        ],
        [f"{V}.user is `root`", "rootless"],
    ),
    "root, with its ids": Refused(
        [
            vllm('user = "root";').replace("uid = 503", "uid = 0"),
            '{ users.groups.root.gid = 0; users.users.root = { uid = 0; group = "root"; }; }',
        ],
        [f"{V}.user is `root`", "rootless"],
    ),
    "the group of root": Refused(
        [vllm('group = "root"; gid = 0;'), "{ users.groups.root.gid = 0; }"],
        [f"{V}.group is `root`"],
    ),
    "llmhop's user": Refused([vllm('user = "llmhop";')], [f"{V}.user is `llmhop`", "secrets"]),
    "llmhop's group": Refused([vllm('group = "llmhop";')], [f"{V}.group is `llmhop`", "secrets"]),
    "a group that has another gid": Refused(
        [vllm('group = "users";')], [f"{V}.gid is 503", "users.groups.users.gid", "100"]
    ),
    "a user that does not linger": Refused(
        [own_user(), deployers(linger="false"), GID], ["users.users.ai.linger is false"]
    ),
    "a user whose linger is left to chance": Refused(
        [own_user(), deployers(linger=""), GID],
        [f"{V}.user is `ai`", "users.users.ai.linger is not set", "linger = true"],
    ),
    "the module's own user without linger": Refused(
        [vllm(), "{ lib, ... }: { users.users.vllm.linger = lib.mkForce false; }"],
        ["users.users.vllm.linger is false"],
    ),
    "a name that is none": Refused([vllm('user = "a b";')], [f"{V}.user is `a b`, which is no"]),
}


@pytest.mark.parametrize("case", UNFIT.values(), ids=UNFIT.keys())
def test_a_deployers_user_that_does_not_fit_is_refused_by_the_option_to_change(
    case: Refused,
) -> None:
    assert_one_message(case)


NAMES = ["vllm", "a.i", "a-i_2", "_x", "a.", "A" * 31]
NO_NAMES = ["", "2x", ".x", "-x", "a b", "a:b", "a/b", "a%b", "a$", "é", "A" * 32]


@pytest.mark.parametrize("name", NAMES + NO_NAMES)
@pytest.mark.parametrize("option", ["user", "group"])
def test_the_build_and_the_generator_take_the_same_names(option: str, name: str) -> None:
    module = vllm(f'{option} = "{name}";')
    contract = evaluate("config.services.llmhop.contract", module)
    try:
        parse_config(json.dumps(contract).encode(), "contract")
        told = False
    except GeneratorError:
        told = True
    try:
        start = f"{V}.{option} is `{name}`, which is no name"
        refused = any(failure.startswith(start) for failure in evaluate("failures", module))
    except NixError:
        refused = True  # by the type that NixOS has for groups

    assert refused is told is (name in NO_NAMES)


def test_a_user_that_nobody_declares_has_no_ranges_to_write() -> None:
    modules = [vllm('user = "ai";'), "{ systemd.sysusers.enable = true; }"]

    assert_one_message(Refused(modules, [f"{V}.user is `ai`", "users.users.ai"]))
    assert evaluate("subids", *modules) == {}


def test_an_automatic_range_that_may_be_the_one_is_warned_of() -> None:
    user = deployers(subUidRanges="", autoSubUidGidRange="true")
    module = own_user("subGidStart = 300000;").replace("300000;", "296608;", 1)

    assert evaluate("failures", module, user, GID) == []
    (warning,) = evaluate("warnings", module, user, GID)
    assert f"{V}.subUidStart" in warning
    assert "users.users.ai" in warning
    assert "subUidRanges" in warning
