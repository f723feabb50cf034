# What a host needs of an evaluated configuration to go through a switch as
# NixOS does: what stands below /etc, users and directories.
{ lib, config }:
let
  inherit (import ./unit-texts.nix { inherit lib; }) service socket unit;
  stand-in = import ./packages.nix { inherit lib; };

  # A unit under its name, or as an override, and the links that want it.
  placed =
    directory: type: write: units:
    lib.concatLists (
      lib.mapAttrsToList (
        name: u:
        let
          file = "${name}.${type}";
          asDropin = u.overrideStrategy == "asDropin";
          wanted = target: {
            path = "${directory}/${target}.wants/${file}";
            link = "../${file}";
          };
        in
        [
          {
            path = "${directory}/" + (if asDropin then "${file}.d/overrides.conf" else file);
            text = write u;
          }
        ]
        ++ map wanted u.wantedBy
      ) units
    );

  tmpfile =
    path: rules:
    lib.mapAttrsToList (_: r: "${r.type} '${path}' ${r.mode} ${r.user} ${r.group} - -\n") rules;
  tmpfiles = lib.concatMap (lib.mapAttrsToList tmpfile) (
    lib.attrValues config.systemd.tmpfiles.settings
  );

  etc =
    name: file:
    {
      path = name;
    }
    // (if file.text != null then { inherit (file) text; } else { link = "${file.source}"; });

  # Files in the store, which the texts above name.
  contract = config.environment.etc."llmhop/contract.json".source;
  without = stand-in.pkgs.writeText "llmhop-without-vllm.json" (
    builtins.toJSON (
      import ../../module/lib/contract-without-vllm.nix {
        inherit lib;
        cfg = config.services.llmhop;
      }
    )
  );
  inStore = file: {
    path = file.outPath;
    inherit (file) text;
  };
in
{
  files =
    placed "systemd/system" "service" service config.systemd.services
    ++ placed "systemd/system" "socket" socket config.systemd.sockets
    ++ placed "systemd/user" "service" service config.systemd.user.services
    ++ placed "systemd/user" "target" unit config.systemd.user.targets
    ++ map (p: {
      path = lib.removePrefix "lib/" p.path;
      inherit (p) text;
    }) config.systemd.packages
    ++ lib.mapAttrsToList etc config.environment.etc
    ++ [
      {
        path = "tmpfiles.d/nixos.conf";
        text = lib.concatStrings (lib.flatten tmpfiles);
      }
    ];

  store = lib.optionals (config.environment.etc ? "llmhop/contract.json") (
    map inStore [
      contract
      without
    ]
  );

  # As nixos/modules/system/activation/pre-switch-check.nix has them, in a shell
  # with the options of writeShellApplication.
  preSwitchChecks =
    "set -euo pipefail\n"
    + lib.concatStrings (
      map (text: "set +e\n(\nset -e\n${text}\n)\ncode=$?\nset -e\n[ $code = 0 ] || exit 1\n") (
        lib.attrValues config.system.preSwitchChecks
      )
    );

  users = lib.mapAttrsToList (name: u: {
    inherit name;
    inherit (u)
      group
      home
      linger
      subGidRanges
      subUidRanges
      uid
      ;
  }) config.users.users;
  groups = lib.mapAttrsToList (name: g: { inherit name; inherit (g) gid; }) config.users.groups;
}
