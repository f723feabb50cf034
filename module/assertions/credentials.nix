# Secrets of llmhop's settings that its service would not have: systemd gives it the
# credentials and variables that its unit names (systemd.exec(5)), and no switch could start
# it without. What they hold, the host tells (`llmhop-generator check`).
{ config, lib, ... }:
let
  cfg = config.services.llmhop;
  service = config.systemd.services.llmhop;
  given = key: map toString (lib.toList (service.serviceConfig.${key} or [ ]));

  references = import ../lib/setting-secrets.nix {
    inherit lib;
    inherit (cfg) settings;
  };

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
    references.files ++ certificates
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

  # What systemd sets for a service itself (systemd.exec(5), Environment Variables Set or
  # Propagated by the Service Manager).
  ofSystemd = lib.splitString " " (
    "PATH LANG USER LOGNAME HOME SHELL INVOCATION_ID RUNTIME_DIRECTORY STATE_DIRECTORY "
    + "CACHE_DIRECTORY LOGS_DIRECTORY CONFIGURATION_DIRECTORY CREDENTIALS_DIRECTORY MAINPID "
    + "MANAGERPID LISTEN_FDS LISTEN_PID LISTEN_FDNAMES NOTIFY_SOCKET WATCHDOG_PID WATCHDOG_USEC "
    + "SYSTEMD_EXEC_PID JOURNAL_STREAM MEMORY_PRESSURE_WATCH MEMORY_PRESSURE_WRITE"
  );
  inherit (config) systemd;
  # A NixOS that has settings refuses to be asked for extraConfig, which they replace.
  ofManager =
    if systemd ? settings then
      lib.toList (systemd.settings.Manager.DefaultEnvironment or [ ])
    else
      [ (systemd.extraConfig or "") ];
  isSet =
    name:
    lib.elem name ofSystemd
    || service.environment.${name} or null != null
    || systemd.globalEnvironment.${name} or null != null
    || lib.any (line: lib.hasInfix "${name}=" (toString line)) (ofManager ++ given "Environment");
  # Which variables come with a file or from the manager, only the host knows.
  variables =
    if given "EnvironmentFile" == [ ] && given "PassEnvironment" == [ ] then
      lib.filter (variable: !isSet variable.name) references.variables
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
