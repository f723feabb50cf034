# NixOS module: vLLM models in rootless Podman containers, llmhop in front.
# The options become one JSON file, the contract; llmhop-generator turns it
# into Quadlet units and the router's config on the running host. lib/ has no
# modules, but functions and data.
#
# In nixpkgs it would also have `meta.maintainers` (names of lib.maintainers),
# `meta.doc`, and the packages `passthru.tests` with its nixosTests. Outside, a chapter
# of the manual fails the manual's build for whoever imports it (nixpkgs #412451), and
# the tests are checks of the flake.
{
  imports = [
    ./options/contract.nix
    ./options/identity.nix
    ./options/llmhop.nix
    ./options/start.nix
    ./options/vllm.nix

    ./assertions/credentials.nix
    ./assertions/devices.nix
    ./assertions/directories.nix
    ./assertions/ids.nix
    ./assertions/models.nix
    ./assertions/own-ids.nix
    ./assertions/own-user.nix
    ./assertions/ports.nix
    ./assertions/router-secrets.nix
    ./assertions/secrets.nix
    ./assertions/sockets.nix
    ./assertions/user-units.nix

    ./generator-services.nix
    ./host.nix
    ./pre-switch-check.nix
    ./router-service.nix
    ./subordinate-ids.nix
    ./user-manager.nix
  ];
}
