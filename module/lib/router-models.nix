# The models in llmhop's settings that say where they run.
{ lib, settings }:
lib.filterAttrs (_: model: model.url != null || model.urls != null) settings.models
