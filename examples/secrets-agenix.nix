# For hosts whose secrets agenix decrypts: a token of Hugging Face for the
# models, and one that clients of llmhop have to send. Needs the module of
# agenix, and the two files: `agenix -e vllm.env.age` (HF_TOKEN=hf_…) and
# `agenix -e client-token.age`.
{ config, ... }:
let
  inherit (config.age) secrets;
in
{
  age.secrets = {
    client-token.file = ./client-token.age;
    # Podman reads this file as the user of the containers.
    "vllm.env" = {
      file = ./vllm.env.age;
      owner = config.services.llmhop.vllm.user;
    };
  };

  services.llmhop = {
    openFirewall = true;
    settings = {
      listen = ":8080";
      authTokens = [ "\${file:client-token}" ];
    };

    vllm = {
      enable = true;
      uid = 503;
      subUidStart = 300000;
      tag = "v0.28.0";
      environmentFile = secrets."vllm.env".path;
      models."llama-3.1-8b" = {
        model = "meta-llama/Llama-3.1-8B-Instruct";
        port = 18001;
      };
    };
  };

  # agenix restarts nothing by itself. The generator starts those models anew
  # whose file changed.
  systemd.services.llmhop-generator.restartTriggers = [ secrets."vllm.env".file ];
  systemd.services.llmhop = {
    restartTriggers = [ secrets.client-token.file ];
    serviceConfig.LoadCredential = [ "client-token:${secrets.client-token.path}" ];
  };
}
