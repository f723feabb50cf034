# For a fleet: every host has the same list of models and enables some of them,
# here two of ten. Needs NVIDIA's driver and a file with HF_TOKEN. Flags that
# take JSON are written as JSON strings; 0.9 and "128K" arrive as written.
{ lib, ... }:
let
  # Every host of the fleet declares the same models and enables some.
  enabled = [
    "qwen3.6-35b-a3b"
    "bge-m3"
  ];

  model = port: model: { inherit model port; };
  models = {
    "qwen3.6-35b-a3b" = model 18001 "Qwen/Qwen3.6-35B-A3B-FP8" // {
      tag = "v0.12.0";
      settings = {
        max-model-len = "128K";
        gpu-memory-utilization = 0.6;
        reasoning-parser = "qwen3";
        enable-auto-tool-choice = true;
        tool-call-parser = "qwen3_coder";
        speculative-config = builtins.toJSON {
          method = "qwen3_next_mtp";
          num_speculative_tokens = 2;
        };
      };
    };
    "qwen3.6-27b" = model 18002 "Qwen/Qwen3.6-27B-FP8";
    "qwen3-coder-30b" = model 18003 "Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8";
    "gpt-oss-20b" = model 18004 "openai/gpt-oss-20b";
    "gpt-oss-120b" = model 18005 "openai/gpt-oss-120b" // {
      shmSize = "64g";
      settings.tensor-parallel-size = 2;
    };
    "mistral-small-3.2-24b" = model 18006 "mistralai/Mistral-Small-3.2-24B-Instruct-2506" // {
      settings = {
        tokenizer-mode = "mistral";
        config-format = "mistral";
        load-format = "mistral";
      };
    };
    "gemma-3-27b" = model 18007 "google/gemma-3-27b-it" // {
      environmentFile = "/etc/vllm/gemma.env";
    };
    "llama-3.3-70b" = model 18008 "meta-llama/Llama-3.3-70B-Instruct" // {
      settings.quantization = "fp8";
    };
    "bge-m3" = model 18009 "BAAI/bge-m3" // {
      settings = {
        gpu-memory-utilization = 0.1;
        runner = "pooling";
        # Embeddings have no images: leave the flag of all models out.
        limit-mm-per-prompt = null;
      };
    };
    "whisper-large-v3" = model 18010 "openai/whisper-large-v3" // {
      environment.VLLM_LOGGING_LEVEL = "DEBUG";
    };
  };
in
{
  hardware.nvidia-container-toolkit.enable = true;

  services.llmhop.settings.listen = "127.0.0.1:8000";

  services.llmhop.vllm = {
    enable = true;
    uid = 503;
    gid = 504;
    subUidStart = 300000;
    subGidStart = 400000;
    tag = "v0.11.0";
    environment.VLLM_LOGGING_LEVEL = "INFO";
    environmentFile = "/etc/vllm/vllm.env";
    modelSettings = {
      gpu-memory-utilization = 0.9;
      limit-mm-per-prompt = builtins.toJSON {
        image = 2;
        video = 0;
      };
      enable-prefix-caching = true;
      no-enable-log-requests = true;
      swap-space = 4;
    };
    models = lib.mapAttrs (name: m: m // { enable = lib.elem name enabled; }) models;
  };
}
