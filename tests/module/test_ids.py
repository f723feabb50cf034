"""Ids of the models' user and its containers that cannot be theirs are refused by their option."""

import json

import pytest
from llmhop_generator.errors import GeneratorError
from llmhop_generator.parse.load import parse_config

from tests.module.nix import Refused, V, assert_one_message, evaluate, needs_nix, vllm

pytestmark = needs_nix

OTHER_USER = "users.users.other"
OTHER_IS_NORMAL = f"{{ {OTHER_USER}.isNormalUser = true; }}"


def starting_at(start: int, count: int = 65536) -> str:
    """A configuration whose containers have just these ids."""
    return vllm(f"subUidCount = {count};").replace("300000", str(start))


REFUSED = {
    "root's uid": Refused([vllm("gid = 503;").replace("uid = 503", "uid = 0")], [f"{V}.uid is 0"]),
    "root's gid": Refused([vllm("gid = 0;")], [f"{V}.gid is 0"]),
    "the uid in its own range": Refused(
        [vllm("gid = 400; subGidStart = 500000;").replace("uid = 503", "uid = 300000")],
        [f"{V}.subUidStart", "300000-365535", f"{V}.uid = 300000"],
    ),
    "the gid in its own range": Refused(
        [vllm("gid = 365535;")], [f"{V}.subGidStart", "300000-365535", f"{V}.gid = 365535"]
    ),
    "a range among system users": Refused(
        [vllm("subGidStart = 999;")], [f"{V}.subGidStart", "999-66534", "0-999", "system users"]
    ),
    "a range above the highest id": Refused(
        [vllm("subGidStart = 4294967295; subGidCount = 999;")], [f"{V}.subGidStart", "4294967294"]
    ),
    "too few uids": Refused(
        [vllm("subUidCount = 998; subGidCount = 999;")], [f"{V}.subUidCount is 998", "65536"]
    ),
    "too few gids": Refused([vllm("subGidCount = 1;")], [f"{V}.subGidCount is 1", "1 to 999"]),
    "too few of both": Refused([vllm("subUidCount = 1;")], [f"{V}.subUidCount is 1"]),
    "another user in the range": Refused(
        [vllm(), OTHER_IS_NORMAL, f"{{ {OTHER_USER}.uid = 300500; }}"],
        [f"{V}.subUidStart", f"{OTHER_USER}.uid"],
    ),
    "another group in the range": Refused(
        [vllm(), "{ users.groups.other.gid = 300500; }"],
        [f"{V}.subGidStart", "users.groups.other.gid = 300500"],
    ),
    "another user's range that ends in ours": Refused(
        [
            vllm(),
            OTHER_IS_NORMAL,
            f"{{ {OTHER_USER}.subUidRanges = [ {{ startUid = 299999; count = 2; }} ]; }}",
        ],
        [f"{V}.subUidStart", "300000-365535", "299999-300000", f"{OTHER_USER}.subUidRanges"],
    ),
    "another user's range that begins in ours": Refused(
        [
            vllm(),
            OTHER_IS_NORMAL,
            f"{{ {OTHER_USER}.subGidRanges = [ {{ startGid = 365535; count = 9; }} ]; }}",
        ],
        [f"{V}.subGidStart", "365535-365543", f"{OTHER_USER}.subGidRanges"],
    ),
    "one range for both kinds among system users": Refused(
        [starting_at(999, 999)], [f"{V}.subUidStart", "999-1997", "system users"]
    ),
    "one range for both kinds above the highest id": Refused(
        [starting_at(4294967295, 999)], [f"{V}.subUidStart", "4294967294"]
    ),
    "one id of root's for both kinds": Refused(
        [vllm().replace("uid = 503", "uid = 0")], [f"{V}.uid is 0"]
    ),
    "a range from which NixOS gives people their uids": Refused(
        [starting_at(20000, 10000), OTHER_IS_NORMAL],
        [f"{V}.subUidStart", "20000-29999", "other"],
    ),
    "a range in which a user of another name is": Refused(
        [vllm(), OTHER_IS_NORMAL, f'{{ {OTHER_USER} = {{ name = "x"; uid = 300500; }}; }}'],
        [f"{V}.subUidStart", f"{OTHER_USER}.uid"],
    ),
}


OTHER_RANGE = f"{{ {OTHER_USER}.sub%sRanges = [ {{ start%s = 400000; count = 9; }} ]; }}"
IDS = "{ ids.uids = { nginx = 60; vllm = 503; }; ids.gids.nginx = 61; }"
TAKEN = {
    "another user's uid": Refused(
        [vllm().replace("503", "1005"), OTHER_IS_NORMAL, f"{{ {OTHER_USER}.uid = 1005; }}"],
        [f"{V}.uid is 1005", f"{OTHER_USER}.uid", "400 to 999"],
    ),
    "the uid of a user of another name": Refused(
        [
            vllm().replace("503", "1005"),
            OTHER_IS_NORMAL,
            f'{{ {OTHER_USER} = {{ name = "x"; uid = 1005; }}; }}',
        ],
        [f"{V}.uid is 1005", f"{OTHER_USER}.uid"],
    ),
    "another group's gid": Refused(
        [vllm("gid = 100;")], [f"{V}.gid is 100", "users.groups.users.gid"]
    ),
    "another group's gid where ours follows the uid": Refused(
        [vllm(), "{ users.groups.other.gid = 503; }"], [f"{V}.gid is 503", "users.groups.other.gid"]
    ),
    "the uid in another user's range": Refused(
        [
            vllm("gid = 503;").replace("503;", "400008;", 1),
            OTHER_IS_NORMAL,
            OTHER_RANGE % ("Uid", "Uid"),
        ],
        [f"{V}.uid is 400008", f"{OTHER_USER}.subUidRanges", "400000-400008"],
    ),
    "the gid in another user's range": Refused(
        [vllm("gid = 400000;"), OTHER_IS_NORMAL, OTHER_RANGE % ("Gid", "Gid")],
        [f"{V}.gid is 400000", f"{OTHER_USER}.subGidRanges", "400000-400008"],
    ),
    "a uid that systemd gives out": Refused(
        [vllm("gid = 503;").replace("503;", "62000;", 1)],
        [f"{V}.uid is 62000", "61184-65535", "DynamicUser", "400 to 999"],
    ),
    "both ids, of which one follows": Refused(
        [vllm().replace("503;", "65534;", 1)], [f"{V}.uid is 65534", "nobody"]
    ),
    "a gid that systemd gives out": Refused(
        [vllm("gid = 60001;")], [f"{V}.gid is 60001", "60001-60705", "400 to 999"]
    ),
}


@pytest.mark.parametrize("case", TAKEN.values(), ids=TAKEN.keys())
def test_ids_that_somebody_else_has_are_told_with_whose_they_are(case: Refused) -> None:
    # Of two that are declared NixOS tells too, and not by which options.
    failures = evaluate("failures", *case.modules)
    (failure,) = [text for text in failures if text != "UIDs and GIDs must be unique!"]
    assert [name for name in case.names if name not in failure] == []


KEPT = {
    "a uid": Refused(
        [vllm("gid = 503;").replace("503;", "60;", 1), IDS],
        [f"{V}.uid is 60", "ids.uids.nginx", "400 to 999"],
    ),
    "a gid": Refused([vllm("gid = 61;"), IDS], [f"{V}.gid is 61", "ids.gids.nginx", "400 to 999"]),
    "both, of which one follows": Refused(
        [vllm().replace("503;", "60;", 1), "{ ids.uids.nginx = 60; ids.gids.nginx = 60; }"],
        [f"{V}.uid is 60", "ids.uids.nginx"],
    ),
}


@pytest.mark.parametrize("case", KEPT.values(), ids=KEPT.keys())
def test_ids_that_nixpkgs_keeps_for_a_service_are_warned_of(case: Refused) -> None:
    (warning,) = evaluate("warnings", *case.modules)
    assert [name for name in case.names if name not in warning] == []
    assert evaluate("failures", *case.modules) == []


def test_ids_that_nixpkgs_keeps_are_refused_once_the_host_has_whom_they_are_for() -> None:
    nginx = """{
      users.users.nginx = { isSystemUser = true; group = "users"; uid = 60; };
      ids.uids.nginx = 60;
    }"""
    modules = [vllm("gid = 503;").replace("503;", "60;", 1), nginx]
    failures = evaluate("failures", *modules)
    assert [f"{V}.uid is 60" in text for text in failures].count(True) == 1
    assert evaluate("warnings", *modules) == []


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_ids_that_cannot_be_give_one_message_that_names_the_option(case: Refused) -> None:
    assert_one_message(case)


ALLOWED = {
    "ranges side by side": [
        vllm(),
        OTHER_IS_NORMAL,
        f"""{{ {OTHER_USER}.subUidRanges = [
          {{ startUid = 234464; count = 65536; }}
          {{ startUid = 365536; count = 65536; }}
        ]; }}""",
    ],
    "a uid next to the range": [vllm(), OTHER_IS_NORMAL, f"{{ {OTHER_USER}.uid = 365536; }}"],
    "ids that are not set": [vllm(), OTHER_IS_NORMAL, "{ users.groups.other = { }; }"],
    "the highest range": [vllm("subGidStart = 4294966296; subGidCount = 999;")],
    "a range beside those from which NixOS gives people their uids": [
        starting_at(30000, 999),
        OTHER_IS_NORMAL,
    ],
    "a range among uids of people who all have one": [
        starting_at(2000, 999),
        OTHER_IS_NORMAL,
        f"{{ {OTHER_USER} = {{ uid = 3010; subUidRanges = [ {{ startUid = 70000; }} ]; }}; }}",
    ],
    "an id that nixpkgs keeps for this very user": [vllm(), IDS],
    "an id in a range of root's": [
        vllm(),
        """{ users.users.root = {
          uid = 0;
          group = "users";
          subUidRanges = [ { startUid = 503; } ];
          subGidRanges = [ { startGid = 503; } ];
        }; }""",
    ],
    "an id beside another user's range": [
        vllm().replace("503;", "400009;", 1),
        OTHER_IS_NORMAL,
        OTHER_RANGE % ("Uid", "Uid"),
    ],
    "what a user that is turned off would have": [
        vllm(),
        OTHER_IS_NORMAL,
        f"""{{ {OTHER_USER} = {{
          enable = false;
          uid = 300500;
          subUidRanges = [ {{ startUid = 300000; }} ];
        }}; }}""",
    ],
    "an automatic range of a user that is turned off": [
        starting_at(100000),
        OTHER_IS_NORMAL,
        f"{{ {OTHER_USER}.enable = false; }}",
    ],
}


@pytest.mark.parametrize("modules", ALLOWED.values(), ids=ALLOWED.keys())
def test_ids_that_can_be_are_not_refused(modules: list[str]) -> None:
    assert evaluate("failures", *modules) == []
    assert evaluate("warnings", *modules) == []


@pytest.mark.parametrize(
    ("first", "is_free"),
    [
        *((999, False), (1000, True), (59002, True), (59003, False), (60705, False)),
        *((61183, False), (65535, False), (65536, True)),
    ],
)
def test_the_build_and_the_generator_keep_the_same_ids_from_containers(
    first: int, is_free: bool
) -> None:
    module = starting_at(first, 999)
    contract = evaluate("config.services.llmhop.contract", module)
    try:
        parse_config(json.dumps(contract).encode(), "contract")
        told = False
    except GeneratorError:
        told = True

    assert (evaluate("failures", module) == []) is (not told) is is_free


@pytest.mark.parametrize(
    ("own", "is_free"),
    [
        *((1, True), (999, True), (60000, True), (60001, False), (60705, False), (60706, True)),
        *((61183, True), (61184, False), (65535, False), (65536, True)),
    ],
)
def test_the_build_and_the_generator_keep_the_same_ids_from_the_user(
    own: int, is_free: bool
) -> None:
    module = vllm().replace("503;", f"{own};", 1)
    contract = evaluate("config.services.llmhop.contract", module)
    told = set()
    try:
        parse_config(json.dumps(contract).encode(), "contract")
    except GeneratorError as error:
        told = {problem.where for problem in error.findings}

    # The module writes the gid that follows.
    assert told == (set() if is_free else {f"{V}.uid", f"{V}.gid"})
    assert (evaluate("failures", module) == []) is is_free


def test_automatic_ranges_that_can_reach_ours_are_warned_of() -> None:
    users = "{ users.users = { %s }; }"
    three = users % " ".join(f"u{n}.isNormalUser = true;" for n in range(3))
    four = users % " ".join(f"u{n}.isNormalUser = true;" for n in range(4))

    assert evaluate("warnings", vllm(), three) == []
    (warning,) = evaluate("warnings", vllm(), four)
    assert f"{V}.subUidStart" in warning
    warnings = evaluate("warnings", vllm("subGidCount = 999;"), four)
    assert [f"{V}.subUidStart" in warnings[0], f"{V}.subGidStart" in warnings[1]] == [True, True]
