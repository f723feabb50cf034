# The contract as a file. What the generator, Podman or systemd would refuse of it
# fails the build, not the switch.
{
  config,
  lib,
  pkgs,
}:
let
  cfg = config.services.llmhop;
  packages = import ./packages.nix { pkgs = pkgs.buildPackages; };

  # What runs when the system is built; the host's may be for another processor.
  build =
    if pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform then
      {
        inherit (cfg) generatorPackage package;
        podman = config.virtualisation.podman.package;
        systemd = config.systemd.package;
      }
    else
      {
        package = packages.llmhop;
        generatorPackage = packages.llmhop-generator;
        inherit (pkgs.buildPackages) podman systemd;
      };
in
pkgs.runCommand "llmhop-contract.json"
  (
    {
      nativeBuildInputs = [
        build.generatorPackage
        build.systemd
      ];
      text = builtins.toJSON cfg.contract;
      passAsFile = [ "text" ];
      LLMHOP_COMMAND = lib.getExe build.package;
      LLMHOP_OPTION_NAMES = "nixos";
    }
    // lib.optionalAttrs cfg.vllm.enable {
      # Podman's own generator, to check the units; systemd comes by the path.
      LLMHOP_QUADLET = "${build.podman}/libexec/podman/quadlet";
    }
  )
  ''
    llmhop-generator render "$textPath" --verify --output rendered
    cp "$textPath" "$out"
  ''
