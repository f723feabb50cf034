# The contract as a value of the host's configuration: what the services below
# are made from, and what `llmhop-generator eval` reads without building anything.
{ config, lib, ... }:
{
  options.services.llmhop.contract = lib.mkOption {
    type = lib.types.raw;
    internal = true;
    readOnly = true;
    default = import ../lib/contract.nix {
      inherit lib;
      cfg = config.services.llmhop;
    };
  };
}
