# The models in llmhop's settings that say where they run. Null says nothing,
# and what has the wrong type is llmhop's to report.
{ lib, settings }:
let
  models = settings.models or null;
  isGiven = model: key: (model.${key} or null) != null;
in
lib.filterAttrs (_: model: isGiven model "url" || isGiven model "urls") (
  if lib.isAttrs models then models else { }
)
