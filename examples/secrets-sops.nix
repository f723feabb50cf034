# For hosts whose secrets sops-nix decrypts: a token of Hugging Face for the
# models, and one that clients of llmhop have to send. Needs the module of
# sops-nix, and hf-token and client-token in sops.defaultSopsFile.
{ config, ... }:
{
  sops.secrets = {
    hf-token = { };
    # systemd gives it to llmhop when that starts.
    client-token.restartUnits = [ "llmhop.service" ];
  };

  # Podman reads this file as the user of the containers. When it changed, the
  # generator starts those models anew that have it.
  sops.templates."vllm.env" = {
    content = "HF_TOKEN=${config.sops.placeholder.hf-token}";
    owner = config.services.llmhop.vllm.user;
    restartUnits = [ "llmhop-generator.service" ];
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
      environmentFile = config.sops.templates."vllm.env".path;
      models."llama-3.1-8b" = {
        model = "meta-llama/Llama-3.1-8B-Instruct";
        port = 18001;
      };
    };
  };

  systemd.services.llmhop.serviceConfig.LoadCredential = [
    "client-token:${config.sops.secrets.client-token.path}"
  ];
}
