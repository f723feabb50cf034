# The settings of llmhop without what nobody gave.
{ lib, settings }:
let
  given = lib.filterAttrs (_: value: value != null);
in
given (removeAttrs settings [ "models" ])
// lib.optionalAttrs (settings.models != { }) {
  models = lib.mapAttrs (_: given) settings.models;
}
