# A secret reaches the process that needs it and nothing else.
{ images }:
{
  name = "secrets";
  configurations = [ "secrets" ];
  image = images.standin;
  # On a real host sops-nix or agenix would write these files. The tests' own
  # secrets may lie in the store.
  module.systemd.tmpfiles.settings."20-secrets" = {
    "/etc/vllm".d = { };
    "/etc/vllm/vllm.env".f = {
      mode = "0400";
      user = "503";
      argument = "HF_TOKEN=hf_5ecret";
    };
    "/etc/vllm/client-token".f = {
      mode = "0400";
      argument = "t0ken-5ecret";
    };
  };
}
