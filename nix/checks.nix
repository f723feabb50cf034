# What `nix flake check` builds: the packages with their tests, the examples on
# a whole NixOS, the machines of nixos-tests, and the format of the Nix files.
{
  nixpkgs,
  pkgs,
  self,
}:
let
  inherit (pkgs) lib;
  inherit (pkgs.stdenv.hostPlatform) system;

  # Those that need no other flake's module.
  examples = lib.filter (name: !lib.hasPrefix "secrets-" name) (
    map (lib.removeSuffix ".nix") (
      lib.filter (lib.hasSuffix ".nix") (lib.attrNames (builtins.readDir ../examples))
    )
  );

  # A host that has no more than it must.
  hostOf =
    example:
    nixpkgs.lib.nixosSystem {
      modules = [
        self.nixosModules.default
        (../examples + "/${example}.nix")
        {
          nixpkgs.hostPlatform = system;
          nixpkgs.config.allowUnfree = true;
          hardware.nvidia-container-toolkit.suppressNvidiaDriverAssertion = true;
          boot.loader.grub.enable = false;
          fileSystems."/".device = "/dev/sda1";
          system.stateVersion = lib.trivial.release;
        }
      ];
    };

  # Its build has Podman's generator read the units. The system around it is
  # evaluated, with every assertion, and not built.
  contractOf =
    example:
    let
      inherit (hostOf example) config;
    in
    builtins.seq config.system.build.toplevel.drvPath
      config.environment.etc."llmhop/contract.json".source;
in
removeAttrs self.packages.${system} [ "default" ]
// lib.mapAttrs' (name: lib.nameValuePair "nixos-${name}") (
  removeAttrs (import ../nixos-tests { inherit pkgs self; }) [ "two-models-vllm" ]
)
// {
  examples = pkgs.runCommand "llmhop-examples" { nativeBuildInputs = [ pkgs.jq ]; } (
    lib.concatMapStrings (example: ''
      diff <(jq --sort-keys . ${contractOf example}) \
        <(jq --sort-keys . ${../examples + "/${example}.json"})
    '') examples
    + ''
      touch "$out"
    ''
  );

  formatting = pkgs.runCommand "llmhop-formatting" { nativeBuildInputs = [ pkgs.nixfmt ]; } ''
    find ${self} -name '*.nix' -exec nixfmt --check {} +
    touch "$out"
  '';
}
