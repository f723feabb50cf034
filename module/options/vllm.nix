# services.llmhop.vllm: what is served and how.
{
  config,
  lib,
  ...
}:
let
  inherit (lib) literalExpression mkOption types;
  cfg = config.services.llmhop.vllm;
  unitKeys = import ./unit-keys.nix {
    inherit lib;
    path = null;
  };
in
{
  options.services.llmhop.vllm = unitKeys // {
    enable = lib.mkEnableOption "vLLM in rootless Podman containers, with llmhop in front";

    cacheDir = mkOption {
      type = types.path;
      default = "/var/cache/vllm";
      description = ''
        Directory of the host that every container sees as its Hugging Face
        cache. Models are downloaded once and shared. It is given to
        {option}`services.llmhop.vllm.user`: a directory of the system, or one that
        somebody else has, is refused.
      '';
    };

    devices = mkOption {
      type = types.listOf types.str;
      default =
        if config.hardware.nvidia-container-toolkit.enable or false then [ "nvidia.com/gpu=all" ] else [ ];
      defaultText = literalExpression ''
        if config.hardware.nvidia-container-toolkit.enable then
          [ "nvidia.com/gpu=all" ]
        else
          [ ]'';
      example = [ "amd.com/gpu=all" ];
      description = ''
        Devices of every container, such as GPUs: CDI names such as
        `nvidia.com/gpu=all`, or paths, which for GPUs of AMD are `/dev/kfd`
        and `/dev/dri`, and for one of Intel `/dev/dri/renderD128`. Each becomes one `AddDevice=` line as it stands.
        Without devices vLLM runs on the CPU. The `devices` of a model replace
        this list.
      '';
    };

    environment = mkOption {
      type = types.attrsOf types.str;
      default = { };
      description = ''
        Environment variables of every container. The variables of a model win
        over these. Values reach the world-readable Nix store; secrets belong
        in {option}`services.llmhop.vllm.environmentFile`.
      '';
    };

    environmentFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = "/etc/vllm/.env";
      description = ''
        File of `KEY=VALUE` lines given to every container, for secrets such
        as `HF_TOKEN`, the token of Hugging Face. Podman reads it as
        {option}`services.llmhop.vllm.user` when a container starts, before
        the model's own file, whose entries win. It must not lie in the Nix
        store, which everybody can read.
      '';
    };

    image = mkOption {
      type = types.str;
      default = "docker.io/vllm/vllm-openai";
      description = "Container image of every model, without tag or digest.";
    };

    tag = mkOption {
      type = types.str;
      example = "v0.11.0";
      description = ''
        Tag of the image for models that set neither `tag` nor `digest`. Where no enabled
        model is one of them, it may be left out.
      '';
    };

    modelSettings = mkOption {
      type = types.attrsOf types.anything;
      default = { };
      description = ''
        Command line flags of the model server, `vllm serve`, for every model,
        such as `max-model-len`, the longest context, or
        `gpu-memory-utilization`, the share of a GPU's memory that a model
        takes (most of it unless it is set; models on one GPU have to share it).

        `true` becomes `--<key>`, `null` and `false` are left out, anything else
        is the value of `--<key>`: objects as JSON, the items of a list as words
        after the flag. `false` leaves on what vLLM has on by default; write
        `"no-<key>" = true` for the negated form. `"<key>.<field>"` sets one
        field of an object.

        `a_b` and `a-b`, `<key>` and `no-<key>`, `<key>` and `<key>.<field>` are
        one flag: the `settings` of a model win over these in whatever form, and
        one set has each flag in one. Flags that llmhop sets itself (`port`, `served-model-name` and
        others) and secrets (`api-key`) are refused, as are paths that only the
        host has, such as any in the Nix store, until a `Volume` in
        {option}`services.llmhop.vllm.containerConfig` brings them in.
      '';
    };

    models = mkOption {
      type = types.attrsOf (types.submodule (import ./model.nix { inherit cfg; }));
      default = { };
      example = literalExpression ''
        {
          "qwen2-5-7b" = {
            model = "Qwen/Qwen2.5-7B-Instruct";
            port = 18001;
          };
          "llama-3-8b" = {
            model = "meta-llama/Meta-Llama-3-8B-Instruct";
            port = 18002;
            settings.max-model-len = 8192;
          };
        }'';
      description = ''
        The models to serve, each in a container of its own. The attribute
        name is what clients send as `model`. Enabled models are ordered by
        ascending port.
      '';
    };
  };
}
