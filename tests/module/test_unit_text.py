"""Paths reach systemd as they were written, alike on NixOS and elsewhere."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from llmhop_generator.parse.load import parse_config
from llmhop_generator.render.host_tree import host_files

from tests.module.nix import evaluate, needs_nix, settings, vllm

pytestmark = needs_nix

MOUNTS = {
    "the directories": "",
    "odd directories": """dataDir = "/srv/a%h \\\\"; cacheDir = "/srv/c%% \\"d";""",
    "volumes": """containerConfig.Volume = [
      "/srv/w:/w" "named:/n" "/only" " /srv/b:/b:ro " "%h/x:/x" "/srv/$X:/y"
    ];""",
    "volumes that are taken away": """containerConfig.Volume = [ "/srv/w:/w" "" "/srv/z:/z" ];""",
    "paths that are not normal": """
      dataDir = "/srv/data/"; cacheDir = "//srv/./cache";
      containerConfig.Volume = [ "/srv/x/../w/:/w" "/../srv//w:/v" "/srv/w:/u" "/:/host:ro" ];
    """,
    "mounts": """containerConfig.Mount = [
      "type=tmpfs,destination=/t" "type=bind,source=/srv/gone,destination=/g" ""
      "type=bind,source=/srv/w/,destination=/w" "type=bind,src=/srv/v,target=/v,ro"
      "type=volume,source=/srv/t,destination=/t" "type=bind,source=%h/x,destination=/x"
    ];""",
    "one volume and files": """
      containerConfig.Volume = "/srv/w:/w"; environmentFile = "/run/secrets/vllm";
    """,
}


@pytest.mark.parametrize("more", MOUNTS.values(), ids=MOUNTS.keys())
def test_the_models_manager_waits_for_the_same_mounts_on_nixos_and_elsewhere(more: str) -> None:
    models = """
      a = { model = "org/a"; port = 18001; };
      b = {
        model = "org/b"; port = 18002; environmentFile = "/etc/b.env";
        containerConfig.Volume = "/srv/b:/b";
      };
      c = { enable = false; model = "c"; port = 1; containerConfig.Volume = "/srv/c:/c"; };
    """
    module = vllm(more, models)
    name = "systemd/system/user@503.service.d/llmhop.conf"
    contract = evaluate("config.services.llmhop.contract", module)
    config = parse_config(json.dumps(contract).encode(), "contract")

    theirs = _mounts(evaluate("host.unitFiles", module)[f"lib/{name}"])
    ours = _mounts(host_files(config, "llmhop")[name])
    assert theirs == ours
    assert [line.partition("=")[0] for line in ours] == ["RequiresMountsFor", "WantsMountsFor"]
    assert '"/srv/b"' in ours[1]
    assert '"/srv/c"' not in ours[1]
    has_w = ("Volume" in more and '""' not in more) or "Mount" in more
    assert ('"/srv/w"' in ours[1]) is has_w
    assert ("/srv/v" in ours[1]) is ("Mount" in more)
    assert not [
        path for path in ("/srv/t", "/srv/gone", "..", "/./", "//") if path in "".join(ours)
    ]


def _mounts(text: str) -> list[str]:
    return [line for line in text.splitlines() if "MountsFor=" in line]


def test_without_volumes_and_files_only_the_directories_are_waited_for() -> None:
    files = evaluate("host.unitFiles", vllm())
    (line,) = _mounts(files["lib/systemd/system/user@503.service.d/llmhop.conf"])
    assert line == 'RequiresMountsFor="/var/cache/vllm" "/var/lib/vllm"'


@pytest.mark.parametrize("path", ["/srv/a%h", "/srv/b b", "/srv/it's", "/srv/back\\slash"])
def test_systemd_makes_the_directories_that_were_named(path: str, tmp_path: Path) -> None:
    """By the real systemd-tmpfiles, from the lines that NixOS writes of them."""
    quoted = json.dumps(path)
    module = vllm(f'dataDir = {quoted}; cacheDir = {quoted[:-1]}.cache";')
    files: list[dict[str, Any]] = evaluate("generation", module)["files"]
    (text,) = (file["text"] for file in files if file["path"].startswith("tmpfiles.d/"))
    rules = tmp_path / "nixos.conf"
    rules.write_text(text)

    command = ["systemd-tmpfiles", "--create", f"--root={tmp_path}/root", str(rules)]
    (tmp_path / "root").mkdir()
    subprocess.run(command, check=False, capture_output=True)
    assert {each.name for each in (tmp_path / "root/srv").iterdir()} == {
        Path(path).name,
        f"{Path(path).name}.cache",
    }


def test_a_unix_socket_has_the_path_that_was_named() -> None:
    module = settings('listen = "unix:/run/llmhop/a%h.sock";')
    contract = evaluate("config.services.llmhop.contract", vllm(), module)
    config = parse_config(json.dumps(contract).encode(), "contract")

    (stream,) = evaluate("host.sockets", vllm(), module)["llmhop"]["listenStreams"]
    assert stream == "/run/llmhop/a%%h.sock"
    assert (
        f"ListenStream={stream}\n" in host_files(config, "llmhop")["systemd/system/llmhop.socket"]
    )
