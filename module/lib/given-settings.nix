# The settings of llmhop without what nobody gave.
{ lib, settings }:
let
  given = lib.filterAttrs (_: value: value != null);
  # toJSON would copy a Nix path to the world-readable store; toString names the file
  # where it is.
  json =
    value:
    if lib.isPath value then
      toString value
    else if lib.isList value then
      map json value
    else if lib.isAttrs value && !(value ? outPath || value ? __toString) then
      lib.mapAttrs (_: json) value
    else
      value;
in
json (
  given (removeAttrs settings [ "models" ])
  // lib.optionalAttrs (settings.models != { }) {
    models = lib.mapAttrs (_: given) settings.models;
  }
)
