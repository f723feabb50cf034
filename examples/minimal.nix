# For a first look: the least that the module takes for two models, and llmhop
# on 127.0.0.1:8080 in front of them. It names no GPU; see single-gpu.nix.
{
  services.llmhop.vllm = {
    enable = true;
    uid = 503;
    subUidStart = 300000;
    tag = "v0.11.0";
    models = {
      "qwen2-5-7b" = {
        model = "Qwen/Qwen2.5-7B-Instruct";
        port = 18001;
      };
      "llama-3-8b" = {
        model = "meta-llama/Meta-Llama-3-8B-Instruct";
        port = 18002;
        settings.max-model-len = 8192;
      };
    };
  };
}
