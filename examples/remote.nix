# For one address for local models and those of OpenAI's API. Needs a key of
# theirs and a token for your clients in files of root's; systemd gives both to
# the service as credentials, so that neither reaches the Nix store.
{
  services.llmhop = {
    openFirewall = true;
    settings = {
      listen = ":8080";
      authTokens = [ "\${file:api-token}" ];
      maxBodyBytes = 20971520;
      models."gpt-4o" = {
        url = "https://api.openai.com";
        headers.Authorization = "Bearer \${file:openai-key}";
      };
    };

    vllm = {
      enable = true;
      uid = 503;
      subUidStart = 300000;
      tag = "v0.11.0";
      models."qwen2-5-7b" = {
        model = "Qwen/Qwen2.5-7B-Instruct";
        port = 18001;
      };
    };
  };

  systemd.services.llmhop.serviceConfig.LoadCredential = [
    "api-token:/etc/llmhop/api-token"
    "openai-key:/etc/llmhop/openai-key"
  ];
}
