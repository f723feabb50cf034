{
  description = "vLLM models in rootless Podman containers on NixOS, with llmhop in front";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { nixpkgs, ... }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forAllSystems =
        outputs: nixpkgs.lib.genAttrs systems (system: outputs nixpkgs.legacyPackages.${system});
    in
    {
      nixosModules = {
        default = ./module;
        vllm = ./module;
      };

      packages = forAllSystems (pkgs: rec {
        default = llmhop;
        llmhop = pkgs.callPackage ./router/package.nix { };
        llmhop-generator = pkgs.callPackage ./generator/package.nix { };
      });

      formatter = forAllSystems (pkgs: pkgs.nixfmt-tree);
    };
}
