# The directories that other options give to somebody, as { path, option, isClosed }. What
# is below a closed one can't be reached by the models' user.
{ config, lib }:
let
  cfg = config.services.llmhop.vllm;
  inherit (import ./paths.nix { inherit lib; }) plain;

  # The models' user, by name or number.
  isOwn =
    user:
    lib.elem (lib.removePrefix ":" (toString user)) [
      cfg.user
      (toString cfg.uid)
    ];

  isTrue = service: key: lib.elem (toString (service.serviceConfig.${key} or "")) [ "1" "true" "yes" "on" ];

  inherit (import ./accounts.nix { inherit config lib; }) users;
  homes = lib.mapAttrsToList (_: user: {
    path = plain user.home;
    option = "${user.path}.home";
    # NixOS sets the mode, which lets neither the group nor others in by default.
    isClosed = user.createHome && builtins.match ".*[0246][0246]" user.homeMode != null;
  }) (lib.filterAttrs (name: user: name != cfg.user && user.key != cfg.user) users);

  # Lines of tmpfiles.d that make a directory, or change its owner where they name one.
  makes = type: builtins.match "[dDvqQ].*" type != null;
  changes = type: builtins.match "[ezZ].*" type != null;
  owned =
    option: rule:
    lib.optional
      (!isOwn rule.user && (makes rule.type || changes rule.type && rule.user != "-"))
      {
        path = plain rule.path;
        inherit option;
        isClosed = false;
      };
  settings = lib.concatLists (
    lib.mapAttrsToList (
      file: paths:
      lib.concatLists (
        lib.mapAttrsToList (
          path: rules:
          lib.concatLists (
            lib.mapAttrsToList (
              _: rule:
              owned "systemd.tmpfiles.settings.${file}.\"${path}\"" {
                inherit path;
                inherit (rule) type user;
              }
            ) rules
          )
        ) paths
      )
    ) (removeAttrs config.systemd.tmpfiles.settings [ "10-llmhop" ])
  );
  words = line: lib.filter (word: word != "") (lib.splitString " " (lib.replaceStrings [ "\t" ] [ " " ] line));
  lines = lib.concatMap (
    line:
    let
      fields = words line ++ lib.genList (_: "-") 4;
      field = lib.elemAt fields;
    in
    owned "systemd.tmpfiles.rules (`${line}`)" {
      type = field 0;
      path = lib.replaceStrings [ "\"" "'" ] [ "" "" ] (field 1);
      user = field 3;
    }
  ) config.systemd.tmpfiles.rules;

  # Directories of services (systemd.exec(5)): `a:b` is `a`, with a link to it.
  places = {
    CacheDirectory = "/var/cache";
    LogsDirectory = "/var/log";
    StateDirectory = "/var/lib";
  };
  ofService =
    name: service:
    lib.concatLists (
      lib.mapAttrsToList (
        key: above:
        map (directory: {
          path = plain "${above}/${lib.head (lib.splitString ":" directory)}";
          option = "systemd.services.${name}.serviceConfig.${key}";
          # In a `private` that only root may enter (systemd.exec(5)).
          isClosed = isTrue service "DynamicUser";
        }) (lib.concatMap words (map toString (lib.toList (service.serviceConfig.${key} or [ ]))))
      ) places
    );
  services = lib.concatLists (
    lib.mapAttrsToList ofService (
      lib.filterAttrs (_: service: !isOwn (service.serviceConfig.User or "root")) config.systemd.services
    )
  );
in
homes ++ settings ++ lines ++ services
