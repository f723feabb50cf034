# Two models of a real vLLM on the CPU, from an image that the host already has.
{
  services.llmhop.vllm = {
    enable = true;
    uid = 503;
    subUidStart = 300000;
    image = "localhost/vllm-cpu";
    tag = "0.32.0";
    environment = {
      HF_HUB_OFFLINE = "1";
      VLLM_CPU_KVCACHE_SPACE = "1";
    };
    modelSettings = {
      enforce-eager = true;
      gpu-memory-utilization = 0.9;
      max-model-len = 256;
      override-generation-config = builtins.toJSON { temperature = 0.5; };
    };
    models = {
      "tiny-1.0" = {
        model = "/models/tiny";
        port = 18001;
        shmSize = "1g";
      };
      "tiny-2.0" = {
        model = "/models/tiny";
        port = 18002;
        shmSize = "1g";
        settings.max-model-len = "128";
      };
      tiny-off = {
        enable = false;
        model = "/models/tiny";
        port = 18003;
      };
    };
  };
}
