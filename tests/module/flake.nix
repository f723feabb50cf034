# The flake's outputs, with the real lib and stand-ins for the rest of nixpkgs.
let
  # Filesets need a builtin that the oldest Nix with flakes does not have.
  scope = {
    builtins = {
      readFileType = path: (builtins.readDir (dirOf path)).${baseNameOf path};
    }
    // builtins;
    import = builtins.scopedImport scope;
  };
  lib = scope.import <nixpkgs/lib>;
  inherit (import ./packages.nix { inherit lib; }) pkgs;
  inherit (lib) mkOption types;
  flake = import ../../flake.nix;

  # As nixosSystem: the modules on top of NixOS, here of the options that count.
  nixosSystem =
    { modules, ... }:
    lib.evalModules {
      modules = modules ++ [
        (import ./nixos.nix { containerToolkit = true; })
        (
          { config, ... }:
          {
            options = {
              boot.loader.grub.enable = mkOption { type = types.bool; };
              fileSystems = mkOption { type = types.attrsOf (types.attrsOf types.str); };
              nixpkgs.hostPlatform = mkOption { type = types.str; };
              system.stateVersion = mkOption { type = types.str; };
              system.build.toplevel = mkOption { type = types.unspecified; };
            };
            config.system.build.toplevel.drvPath =
              let
                failed = lib.filter (a: !a.assertion) config.assertions;
              in
              if failed == [ ] then "toplevel" else throw (lib.concatMapStrings (a: a.message) failed);
          }
        )
      ];
    };

  nixpkgs = {
    lib = lib // {
      inherit nixosSystem;
    };
    legacyPackages = lib.genAttrs lib.systems.flakeExposed (_: pkgs);
  };

  outputs = flake.outputs {
    self = outputs // {
      outPath = toString ../..;
    };
    inherit nixpkgs;
  };
in
{
  inherit
    flake
    lib
    nixpkgs
    outputs
    pkgs
    ;
}
