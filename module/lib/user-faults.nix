# What keeps the models' user from being one that the host has, as messages: one fault
# after the other, as what is wrong by the first is not told of again.
{ config, lib }:
let
  cfg = config.services.llmhop.vllm;
  inherit (import ./accounts.nix { inherit config lib; }) users;

  # What systemd and the generator take for the name of a user or a group.
  isName = name: builtins.match "[A-Za-z_][A-Za-z0-9_.-]{0,30}" name != null;
  # What is wrong with the names themselves; null if nothing is.
  misnamed =
    option:
    let
      name = cfg.${option};
    in
    if !isName name then
      ''
        services.llmhop.vllm.${option} is `${name}`, which is no name: give
        letters, digits, `_`, `-` and dots, a letter or `_` first, at most 31.
      ''
    else if whose ? ${name} then
      ''
        services.llmhop.vllm.${option} is `${name}`, ${whose.${name}}.
        Leave it out, or name one that is for the models alone.
      ''
    else
      null;

  # Who has files that no container may read.
  whose = {
    root = "and the containers are rootless";
    llmhop = "which is llmhop's own and reads its secrets";
  };

  undeclared =
    let
      path = "users.users.${cfg.user}";
      declared = config.users.users.${cfg.user};
    in
    if !(config.users.users ? ${cfg.user}) then
      ''
        services.llmhop.vllm.user is `${cfg.user}`, which the module does not
        declare. Declare ${path} and users.groups.${cfg.group},
        or leave the option at `vllm`.
      ''
    else if !declared.enable then
      ''
        services.llmhop.vllm.user is `${cfg.user}`, but ${path}.enable is false, and
        nobody could run the models. Leave that out, or turn services.llmhop.vllm off.
      ''
    else
      ''
        services.llmhop.vllm.user is `${cfg.user}`, but ${path}.name is
        `${declared.name}`, so that the host has no ${cfg.user}. Leave the name out, or set
        services.llmhop.vllm.user to it.
      '';
in
lib.filter (message: message != null) [
  (misnamed "user")
  # It follows the user where it is not set.
  (if cfg.group == cfg.user then null else misnamed "group")
  (if users ? ${cfg.user} then null else undeclared)
]
