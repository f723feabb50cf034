# Secrets of llmhop's settings that its service would not have: systemd gives it the
# credentials and variables that its unit names (systemd.exec(5)), and no switch could start
# it without. What they hold, the host tells (`llmhop-generator check`).
{ config, lib, ... }:
let
  cfg = config.services.llmhop;
  service = config.systemd.services.llmhop;
  given = key: map toString (lib.toList (service.serviceConfig.${key} or [ ]));

  secrets = import ../lib/setting-secrets.nix {
    inherit lib;
    inherit (cfg) settings;
  };
  referencesOf =
    pattern:
    lib.concatMap (
      secret:
      map (found: {
        inherit (secret) path;
        name = lib.head found;
      }) (lib.filter lib.isList (builtins.split pattern secret.text))
    ) secrets;

  tls = cfg.settings.tls or null;
  # Of the listeners' certificate the paths themselves.
  certificates =
    lib.concatMap
      (
        key:
        lib.optional (lib.isAttrs tls && lib.isString (tls.${key} or null)) {
          name = tls.${key};
          path = "services.llmhop.settings.tls.${key}";
        }
      )
      [
        "certificate"
        "key"
      ];
  files = lib.filter (file: file.name != "" && !lib.hasPrefix "/" file.name) (
    referencesOf "[$][{]file:([^}]*)}" ++ certificates
  );

  # `id:source`; of a directory each file is `id_file`.
  credentials = map (line: lib.head (lib.splitString ":" line)) (
    lib.concatMap given [
      "LoadCredential"
      "LoadCredentialEncrypted"
      "SetCredential"
      "SetCredentialEncrypted"
    ]
  );
  isLoaded =
    file: lib.any (id: file.name == id || id != "" && lib.hasPrefix "${id}_" file.name) credentials;
  # What a pattern imports, and what an id with a specifier is, only the host knows.
  areKnown = given "ImportCredential" == [ ] && !lib.any (lib.hasInfix "%") credentials;

  isSet =
    name:
    service.environment.${name} or null != null
    || lib.any (line: lib.hasInfix "${name}=" line) (given "Environment");
  # Which variables come with a file or from the manager, only the host knows.
  variables =
    if given "EnvironmentFile" == [ ] && given "PassEnvironment" == [ ] then
      lib.filter (variable: !isSet variable.name) (referencesOf "[$][{]env:([A-Za-z_][A-Za-z0-9_]*)}")
    else
      [ ];

  # One message for each name, with all that refer to it.
  refused =
    message: references:
    lib.mapAttrsToList (name: those: {
      assertion = false;
      message = message name (
        lib.concatStringsSep " and " (lib.unique (map (reference: reference.path) those))
      );
    }) (lib.groupBy (reference: reference.name) references);

  isPath = file: lib.hasInfix "/" file.name;
in
{
  config = lib.mkIf cfg.enable {
    assertions =
      refused (name: paths: ''
        ${paths} names the file `${name}`, a relative path, which is the name of a
        credential and has no slash. Write an absolute path.
      '') (lib.filter isPath files)
      ++ refused (name: paths: ''
        ${paths} names the credential `${name}`, which llmhop.service is not given, so that
        llmhop would not start. Load it, such as by
        systemd.services.llmhop.serviceConfig.LoadCredential = [ "${name}:/run/secrets/${name}" ],
        or write an absolute path of a file that llmhop can read.
      '') (lib.filter (file: areKnown && !isPath file && !isLoaded file) files)
      ++ refused (name: paths: ''
        ${paths} names the variable `${name}`, which llmhop.service does not have, so that
        llmhop would not start. Put it in a file, and name that in
        systemd.services.llmhop.serviceConfig.EnvironmentFile.
      '') variables;
  };
}
