# Podman's generator makes the models' services, and systemd takes one of the same name
# below /etc/systemd/user in its place (systemd.unit(5)).
{ config, lib, ... }:
let
  cfg = config.services.llmhop.vllm;
  host = import ../lib/host.nix { inherit lib; };
  modelOption = import ../lib/model-option-path.nix { inherit lib; };
  inherit (config.systemd) user;

  # systemd.user.services are among the units.
  isWhole = unit: unit != null && unit.overrideStrategy != "asDropin";
  option =
    name:
    lib.showOption (
      [
        "systemd"
        "user"
      ]
      ++ (
        if user.services ? ${name} then
          [
            "services"
            name
          ]
        else
          [
            "units"
            "${name}.service"
          ]
      )
    );
in
{
  config = lib.mkIf cfg.enable {
    assertions = lib.mapAttrsToList (
      key: model:
      let
        name = host.unit_prefix + model.name;
      in
      {
        assertion = !model.enable || !isWhole (user.units."${name}.service" or null);
        message = ''
          ${option name} is a unit that systemd would start in place of the model
          of ${modelOption key "name"}, `${model.name}`. Rename one of the two; or set
          overrideStrategy = "asDropin" there, to add to the model's unit.
        '';
      }
    ) cfg.models;
  };
}
