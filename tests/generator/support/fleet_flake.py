"""A flake with hosts that use the real module, on the real lib of nixpkgs."""

import shutil
import subprocess
from pathlib import Path

from tests.module.nix import ROOT

# What the module needs of this repository, and NixOS's options as the tests declare them.
_PARTS = (
    "module",
    "generator/package.nix",
    "router/package.nix",
    *(str(path.relative_to(ROOT)) for path in (ROOT / "tests/module").glob("*.nix")),
)

_FLAKE = """{
  outputs = _: let
    lib = import ./lib;
    nixos = import ./tests/module/nixos.nix { containerToolkit = true; };
    host = name: module: lib.evalModules {
      modules = [
        nixos
        ./module
        { options.networking.fqdnOrHostName = lib.mkOption { default = name; }; }
        module
      ];
    };
  in { nixosConfigurations = (import ./hosts.nix) { inherit host lib nixos; }; };
}
"""

HOSTS = """{ host, lib, nixos }:
let
  vllm = models: {
    services.llmhop.settings.listen = ":8080";
    services.llmhop.vllm = {
      enable = true;
      uid = 503;
      subUidStart = 300000;
      tag = "v0.11.0";
      inherit models;
    };
  };
  a = { model = "org/a"; port = 18001; };
in {
  gpu1 = host "gpu1.lan" (vllm { inherit a; });
  "gpu2.site" = host "gpu2.lan" (vllm { inherit a; b = { model = "org/b"; port = 18002; }; });
  off = host "off" { };
  web = lib.evalModules { modules = [ nixos ]; };
}
"""


def write_flake(directory: Path, hosts: str = HOSTS) -> Path:
    """Write the flake into a directory; `hosts` is the Nix text of its hosts."""
    for part in _PARTS:
        target = directory / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, target)
        else:
            shutil.copy(ROOT / part, target)
    found = subprocess.run(
        ["nix-instantiate", "--find-file", "nixpkgs/lib"],
        capture_output=True,
        text=True,
        check=True,
    )
    shutil.copytree(Path(found.stdout.strip()), directory / "lib")
    (directory / "flake.nix").write_text(_FLAKE, encoding="utf-8")
    (directory / "hosts.nix").write_text(hosts, encoding="utf-8")
    return directory
