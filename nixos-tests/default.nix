# Tests that boot NixOS. Each file names one scenario of tests/scenarios: the
# script that runs, and the configurations between which it switches.
{ pkgs, self }:
let
  inherit (pkgs) lib;
  images = import ./images.nix { inherit pkgs; };
  run = import ./run.nix { inherit pkgs self; };
  test = file: run (import file { inherit images; });
in
{
  failing = test ./failing.nix;
  hardening = test ./hardening.nix;
  reboot = test ./reboot.nix;
  secrets = test ./secrets.nix;
  switch = test ./switch.nix;
  two-models = test ./two-models.nix;
  two-models-vllm = test ./two-models-vllm.nix;
}
