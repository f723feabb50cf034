# NixOS module: vLLM models in rootless Podman containers, llmhop in front.
# The options become one JSON file, the contract; llmhop-generator turns it
# into Quadlet units and the router's config on the running host.
{
  imports = [
    ./options.nix
    ./contract-option.nix
    ./vllm-options.nix
    ./identity-options.nix
    ./start-options.nix
    ./assertions.nix
    ./id-assertions.nix
    ./own-user-assertions.nix
    ./privileged-port-assertions.nix
    ./secret-assertions.nix
    ./host.nix
    ./user-manager.nix
    ./subordinate-ids.nix
    ./services.nix
    ./generator-services.nix
  ];
}
