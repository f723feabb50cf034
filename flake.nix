{
  description = "vLLM models in rootless Podman containers on NixOS, with llmhop in front";

  # The only input, so that nothing else reaches the lock files of users.
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs, ... }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forAllSystems = outputs: lib.genAttrs systems (system: outputs nixpkgs.legacyPackages.${system});

      programs = pkgs: rec {
        llmhop = pkgs.callPackage ./router/package.nix { };
        llmhop-generator = pkgs.callPackage ./generator/package.nix { inherit llmhop; };
      };
    in
    {
      # Paths, so that the module counts once wherever it is imported.
      nixosModules = {
        default = ./module;
        vllm = ./module;
      };

      overlays.default = final: _: {
        llmhop = final.callPackage ./router/package.nix { };
        llmhop-generator = final.callPackage ./generator/package.nix { };
      };

      packages = forAllSystems (
        pkgs:
        let
          own = programs pkgs;
        in
        own
        // {
          default = own.llmhop;
          docs = pkgs.callPackage ./nix/docs.nix { };
        }
      );

      apps = forAllSystems (
        pkgs:
        lib.mapAttrs (_: package: {
          type = "app";
          program = lib.getExe package;
          meta = { inherit (package.meta) description; };
        }) (programs pkgs)
      );

      checks = forAllSystems (pkgs: import ./nix/checks.nix { inherit nixpkgs pkgs self; });

      # Each by its name, also the one that is no check, because it builds vLLM.
      legacyPackages = forAllSystems (pkgs: {
        nixosTests = import ./nixos-tests { inherit pkgs self; };
      });

      devShells = forAllSystems (pkgs: {
        default = pkgs.callPackage ./nix/dev-shell.nix { };
      });

      formatter = forAllSystems (pkgs: pkgs.nixfmt-tree);
    };
}
