# What every machine has: room for the models, their image in the user's
# storage, and the commands that scenarios use (see tests/host/setup.py).
{ image }:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  vllm = config.services.llmhop.vllm;
  uid = toString vllm.uid;

  command =
    name: file:
    pkgs.writers.writePython3Bin name {
      libraries = [ pkgs.python3Packages.openai ];
      doCheck = false;
    } (builtins.readFile file);

  # Says what the generator said, and ends with its code, or with that of the
  # switch where the generator did well or did not run: a switch ends with 4
  # where any unit failed. The machine was booted into the first configuration.
  switch-to = pkgs.writeShellScriptBin "switch-to" ''
    system=/run/booted-system/specialisation/$1
    if [ ! -e "$system" ]; then system=/run/booted-system; fi
    unit=llmhop-generator.service
    property() { systemctl show --property "$1" --value "$unit"; }
    before=$(property InvocationID)
    code=0
    "$system/bin/switch-to-configuration" test || code=$?
    invocation=$(property InvocationID)
    if [ "$invocation" != "$before" ]; then
      journalctl --quiet --output cat --unit "$unit" "_SYSTEMD_INVOCATION_ID=$invocation"
      status=$(property ExecMainStatus)
      if [ "$status" != 0 ]; then code=$status; fi
    fi
    exit "$code"
  '';
in
{
  virtualisation = {
    cores = 2;
    memorySize = lib.mkDefault 4096;
    diskSize = 16384;
  };
  system.switch.enable = true;

  environment.systemPackages = [
    pkgs.curl
    switch-to
    (command "chat" ../tests/scenarios/chat_command.py)
    (command "streams" ../tests/scenarios/streams_command.py)
  ];

  # In the storage before the user's manager starts what needs it.
  systemd.services.load-images = lib.mkIf vllm.enable {
    requires = [ "user-runtime-dir@${uid}.service" ];
    after = [ "user-runtime-dir@${uid}.service" ];
    before = [ "user@${uid}.service" ];
    wantedBy = [ "user@${uid}.service" ];
    path = [
      "/run/wrappers"
      config.virtualisation.podman.package
    ];
    environment = {
      HOME = vllm.dataDir;
      XDG_RUNTIME_DIR = "/run/user/${uid}";
    };
    serviceConfig = {
      Type = "oneshot";
      RemainAfterExit = true;
      User = vllm.user;
    };
    # Podman's pause process has to belong to the user's manager, not to this.
    script = ''
      ${image.stream} | podman load
      ${lib.concatMapStrings (tag: ''
        podman tag ${image.name}:${image.tag} ${image.name}:${tag}
      '') image.otherTags}
      podman system migrate
    '';
  };
}
