# switch.nix without its models; llmhop stays for the one elsewhere.
{ lib, ... }:
{
  imports = [ ./switch.nix ];

  services.llmhop.enable = true;
  services.llmhop.vllm.enable = lib.mkForce false;
}
