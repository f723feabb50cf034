# For a host with two NVIDIA GPUs, each with a model of its own. The models do
# not share memory, so they may start at the same time. Needs NVIDIA's driver.
# The large one is pinned to an image by its digest.
{
  hardware.nvidia-container-toolkit.enable = true;

  services.llmhop.vllm = {
    enable = true;
    uid = 503;
    subUidStart = 300000;
    tag = "v0.11.0";
    startupOrdering = false;
    modelSettings.gpu-memory-utilization = 0.95;
    models = {
      "qwen3-coder-30b" = {
        model = "Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8";
        port = 18001;
        devices = [ "nvidia.com/gpu=0" ];
        digest = "sha256:a73fb0b9046fee099f7c1829d2548e6cc1740f4c2776a6855fa659ae5d0deb49";
        settings.enable-auto-tool-choice = true;
        settings.tool-call-parser = "qwen3_coder";
      };
      "bge-m3" = {
        model = "BAAI/bge-m3";
        port = 18002;
        devices = [ "nvidia.com/gpu=1" ];
        shmSize = "4g";
        settings.runner = "pooling";
      };
    };
  };
}
