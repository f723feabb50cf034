# For a host with one NVIDIA GPU that two models share: a chat model and one for
# embeddings. Needs NVIDIA's driver. vLLM takes most of a GPU's memory unless it
# is told otherwise, so each model is given its share.
{
  hardware.nvidia-container-toolkit.enable = true;

  services.llmhop.vllm = {
    enable = true;
    uid = 503;
    subUidStart = 300000;
    tag = "v0.28.0";
    models = {
      "qwen3-8b" = {
        model = "Qwen/Qwen3-8B-FP8";
        port = 18001;
        settings = {
          gpu-memory-utilization = 0.75;
          max-model-len = 16384;
        };
      };
      "bge-m3" = {
        model = "BAAI/bge-m3";
        port = 18002;
        settings = {
          runner = "pooling";
          gpu-memory-utilization = 0.15;
        };
      };
    };
  };
}
