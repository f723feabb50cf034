# A secret for the models and one for llmhop's clients, in files that are not of the Nix store.
{
  services.llmhop = {
    settings.authTokens = [ "\${file:client-token}" ];
    vllm = {
      enable = true;
      uid = 503;
      subUidStart = 300000;
      image = "localhost/standin";
      tag = "v0.12.0";
      environmentFile = "/etc/vllm/vllm.env";
      models.a = {
        model = "m/a";
        port = 18001;
      };
    };
  };

  systemd.services.llmhop.serviceConfig.LoadCredential = [ "client-token:/etc/vllm/client-token" ];
}
