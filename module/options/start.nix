# services.llmhop.vllm: how the units of the models start.
{ lib, ... }:
let
  inherit (lib) mkOption types;
in
{
  options.services.llmhop.vllm = {
    openFilesLimit = mkOption {
      type = types.ints.positive;
      default = 1048576;
      description = ''
        Limit of open files (`LimitNOFILE`) of every model's unit, and of the
        user manager, which cannot give its units more than it has. Each client
        of a model takes one for its connection. Under a low limit, such as
        the 1024 that systemd gives by itself, a busy vLLM logs
        `accept: Too many open files` and takes nobody in.
      '';
    };

    startupOrdering = mkOption {
      type = types.bool;
      default = true;
      description = ''
        Start the enabled models one after the other, in the order of their
        ports, so that no two of them measure the free memory of one GPU at the same
        time. Turn it off only where every model has a device of its own.
      '';
    };
  };
}
