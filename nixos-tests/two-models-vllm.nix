# The same as two-models.nix with a real vLLM on the CPU, which is built first:
# nix build .#legacyPackages.x86_64-linux.nixosTests.two-models-vllm
{ images }:
{
  name = "two-models-vllm";
  script = "two-models";
  configurations = [ "two-models" ];
  image = images.vllm;
  timeoutMinutes = 60;
  module.virtualisation.memorySize = 12288;
}
