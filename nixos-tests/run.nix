# One scenario on one machine.
#
# `configurations` are modules of tests/scenarios, the first of which is up when
# the scenario begins, unless `applied` is false; `image` is what the models'
# engine is; `timeoutMinutes` bounds the whole test; `module` is for what else
# the scenario finds on its host.
{ pkgs, self }:
{
  name,
  script ? name,
  configurations,
  image,
  applied ? true,
  timeoutMinutes ? 15,
  module ? { },
}:
let
  inherit (pkgs) lib;
  scenarios = ../tests/scenarios;
  file = configuration: scenarios + "/${configuration}.nix";
  others = if applied then lib.tail configurations else configurations;
in
pkgs.testers.runNixOSTest {
  name = "llmhop-${name}";
  globalTimeout = timeoutMinutes * 60;

  # A machine, not a container: rootless Podman needs newuidmap, a setuid program.
  nodes.machine = {
    imports = [
      self.nixosModules.default
      (import ./node.nix { inherit image; })
      module
    ]
    ++ lib.optional applied (file (lib.head configurations));

    specialisation = lib.genAttrs others (configuration: {
      configuration = file configuration;
    });
  };

  testScript = builtins.readFile (scenarios + "/${script}.py");
  # The script is typed for neither of its two drivers.
  skipTypeCheck = true;
}
