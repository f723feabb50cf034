# For a host with AMD GPUs, on the image that vLLM builds for ROCm. Needs the
# amdgpu driver, and crun, which Podman takes by default. To pin a model to one
# GPU, give it that one's node: devices = [ "/dev/kfd" "/dev/dri/renderD128" ].
{
  # Whom /dev/kfd and /dev/dri belong to.
  users.users.vllm.extraGroups = [
    "render"
    "video"
  ];

  services.llmhop.vllm = {
    enable = true;
    uid = 503;
    subUidStart = 300000;
    image = "docker.io/vllm/vllm-openai-rocm";
    tag = "v0.28.0";
    devices = [
      "/dev/kfd"
      "/dev/dri"
    ];
    # The user's groups hold in the container as well.
    containerConfig.GroupAdd = "keep-groups";
    models."qwen3-8b" = {
      model = "Qwen/Qwen3-8B";
      port = 18001;
    };
  };
}
