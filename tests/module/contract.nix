# Prints the contract of one configuration:
#   nix-instantiate --eval --strict --json tests/module/contract.nix \
#     --arg module ./examples/minimal.nix
{ module }: (import ./eval.nix { modules = [ module ]; }).contract
