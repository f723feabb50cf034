# For a host without a GPU, with 16 cores and 32 GB of memory: two small models
# from the image that vLLM builds for CPUs. Needs x86-64 with AVX-512 (AVX2 has
# fewer features); on ARM the tag ends in -arm64.
{
  services.llmhop.vllm = {
    enable = true;
    uid = 503;
    subUidStart = 300000;
    image = "docker.io/vllm/vllm-openai-cpu";
    tag = "v0.28.0-x86_64";
    # GB that each model keeps for the contexts of its requests.
    environment.VLLM_CPU_KVCACHE_SPACE = "4";
    modelSettings.max-model-len = 8192;
    models = {
      "qwen3-1.7b" = {
        model = "Qwen/Qwen3-1.7B";
        port = 18001;
        # Each model has cores of its own, or both would use the same ones.
        environment.VLLM_CPU_OMP_THREADS_BIND = "0-7";
      };
      "qwen3-0.6b" = {
        model = "Qwen/Qwen3-0.6B";
        port = 18002;
        environment.VLLM_CPU_OMP_THREADS_BIND = "8-13";
      };
    };
  };
}
