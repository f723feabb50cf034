# A stand-in for pkgs.testers.runNixOSTest: it takes what that takes, typed as in
# nixos/lib/testing, and evaluates each machine and its specialisations.
{ lib }:
test:
let
  inherit (lib) mkOption types;
  option = type: default: mkOption { inherit type default; };

  inherit
    (lib.evalModules {
      modules = [
        {
          options = {
            name = mkOption { type = types.str; };
            globalTimeout = option types.int 3600;
            nodes = option (types.lazyAttrsOf types.deferredModule) { };
            testScript = mkOption { type = types.either types.str (types.functionTo types.str); };
            skipTypeCheck = option types.bool false;
          };
        }
        test
      ];
    })
    config
    ;

  # What a virtual machine has beside NixOS (nixos/modules/virtualisation/qemu-vm.nix).
  virtualMachine = {
    options = {
      virtualisation.cores = option types.ints.positive 1;
      virtualisation.memorySize = option types.ints.positive 1024;
      virtualisation.diskSize = option (types.either types.ints.positive (types.enum [ "auto" ])) 1024;
      system.switch.enable = option types.bool true;
      specialisation = option (types.attrsOf (
        types.submodule {
          options.inheritParentConfig = option types.bool true;
          options.configuration = option types.deferredModule { };
        }
      )) { };
    };
  };

  hostOf = config: {
    contract = config.environment.etc."llmhop/contract.json".source.text or null;
    failures = map (a: a.message) (lib.filter (a: !a.assertion) config.assertions);
    inherit (config) warnings;
  };

  machine =
    node:
    let
      evaluated = lib.evalModules {
        modules = [
          (import ./nixos.nix { containerToolkit = true; })
          virtualMachine
          node
        ];
      };
    in
    hostOf evaluated.config
    // {
      specialisations = lib.mapAttrs (
        _: it: hostOf (evaluated.extendModules { modules = [ it.configuration ]; }).config
      ) evaluated.config.specialisation;
    };
in
{
  inherit (config) name globalTimeout testScript;
  nodes = lib.mapAttrs (_: machine) config.nodes;
}
