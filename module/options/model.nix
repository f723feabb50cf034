# services.llmhop.vllm.models.<name>: one model, one container. `cfg` is
# services.llmhop.vllm, for defaults that follow it.
{ cfg }:
{ lib, name, ... }:
let
  inherit (lib) literalExpression mkOption types;
  modelOption = import ../lib/model-option-path.nix { inherit lib; };
  pattern = "[[:alnum:]][[:alnum:].-]*";
  unitKeys = import ./unit-keys.nix {
    inherit lib;
    path = "services.llmhop.vllm";
  };
in
{
  options = unitKeys // {
    enable = lib.mkEnableOption "this model" // {
      default = true;
    };

    name = mkOption {
      type = types.strMatching pattern;
      default =
        if builtins.match pattern name != null then
          name
        else
          throw ''
            ${modelOption name "name"} follows the attribute name, which has to be letters,
            digits, dots and dashes, a letter or digit first. Set it, or change that. Clients may
            still send "${name}": add it to services.llmhop.settings.models.<name>.aliases.
          '';
      defaultText = name;
      description = ''
        Name of the model: clients send it as `model`, and the unit is called
        `vllm-<name>.service`. It follows the attribute name, which therefore
        has to match the pattern too unless this option is set. A name with a slash, such as
        that of a repository, can be another name of the model:
        `services.llmhop.settings.models.<name>.aliases = [ "Qwen/Qwen2.5-7B-Instruct" ]`.
      '';
    };

    model = mkOption {
      type = types.str;
      example = "Qwen/Qwen2.5-7B-Instruct";
      description = ''
        Hugging Face repository, or a path inside the container, that vLLM
        loads. A directory of the host needs a `Volume` in
        {option}`services.llmhop.vllm.containerConfig`.
      '';
    };

    port = mkOption {
      type = types.port;
      description = ''
        Loopback port of the host on which the container's API is published.
        Every model needs a port of its own.
      '';
    };

    settings = mkOption {
      type = types.attrsOf types.anything;
      default = { };
      description = ''
        Command line flags of this model's server. They win over
        {option}`services.llmhop.vllm.modelSettings`, where their form is
        described.
      '';
    };

    environment = mkOption {
      type = types.attrsOf types.str;
      default = { };
      description = ''
        Further environment variables of this container. They win over
        {option}`services.llmhop.vllm.environment`.
      '';
    };

    environmentFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      description = ''
        File of `KEY=VALUE` lines for this container, read after
        {option}`services.llmhop.vllm.environmentFile`, so that its entries
        win. {option}`services.llmhop.vllm.user` has to be able to read it.
      '';
    };

    devices = mkOption {
      type = types.listOf types.str;
      default = cfg.devices;
      defaultText = literalExpression "config.services.llmhop.vllm.devices";
      example = [ "nvidia.com/gpu=0" ];
      description = ''
        Devices of this container, in place of
        {option}`services.llmhop.vllm.devices`. This pins a model to a GPU.
      '';
    };

    shmSize = mkOption {
      type = types.str;
      default = "32g";
      example = "64g";
      description = ''
        Size of the container's own shared memory, `/dev/shm`, through which
        the processes of one model pass tensors and NCCL works (tensor
        parallelism). Podman's 64 MB are too little for that: a model on several
        GPUs dies with a bus error or `No space left on device`. The default
        leaves room for eight of them, and costs nothing until it is used: it is
        an upper limit, and memory is taken as it fills.
      '';
    };

    tag = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = ''
        Tag of the image for this model, in place of
        {option}`services.llmhop.vllm.tag`. Not together with `digest`.
      '';
    };

    digest = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "sha256:a73fb0b9046fee099f7c1829d2548e6cc1740f4c2776a6855fa659ae5d0deb49";
      description = ''
        Digest of the image for this model. It pins the image for good. Not
        together with `tag`.
      '';
    };
  };
}
