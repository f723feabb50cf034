# What `llmhop-generator eval` reads of the hosts of a flake, without building one.
rec {
  # One entry of nixosConfigurations: the contract, or null where llmhop is not used,
  # and the name under which others reach the host.
  host =
    { config, ... }:
    let
      llmhop = config.services.llmhop or null;
      networking = config.networking or { };
    in
    {
      contract =
        if llmhop == null || !(llmhop.enable || llmhop.vllm.enable) then
          null
        else
          llmhop.contract or (throw "the module of llmhop has no `contract`; update the input llmhop");
      address = networking.fqdnOrHostName or networking.hostName or null;
    };

  # nix-eval-jobs evaluates derivations. So each host becomes one that nobody builds,
  # with what is wanted of the host beside it.
  select = builtins.mapAttrs (
    _: system:
    derivation {
      name = "llmhop-host";
      system = "x86_64-linux";
      builder = "/bin/sh";
    }
    // {
      llmhopHost = host system;
    }
  );
  apply = job: job.llmhopHost;
}
