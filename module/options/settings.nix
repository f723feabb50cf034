# services.llmhop.settings: types for what the module itself reads of them (RFC
# 42); llmhop judges the rest. Null is left out.
{ lib, json }:
let
  inherit (lib) mkOption types;
  maybe =
    type: description:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit description;
    };

  model = types.submodule {
    freeformType = json;
    options = {
      url = maybe types.str "Where a model that runs elsewhere is.";
      urls = maybe (types.listOf types.str) "Several of them, which share its requests.";
    };
  };

  client = types.submodule {
    freeformType = json;
    options = {
      token = maybe types.str "The bearer token that the client sends, by reference.";
      tokens = maybe (types.listOf types.str) "Several of them, any of which counts.";
      models = maybe (types.listOf types.str) "The models that it may use; all unless it is set.";
      paths = maybe (types.listOf types.str) "Control paths of engines that it may use.";
      maxConcurrent = maybe types.ints.positive "Most requests of it at once.";
      requestsPerMinute = maybe types.ints.positive "Most requests of it in a minute.";
      tokensPerMinute = maybe types.ints.positive "Most tokens of it in a minute.";
    };
  };
in
types.submodule {
  freeformType = json;
  options = {
    listen = maybe (types.either types.str (types.listOf types.str)) ''
      Addresses to listen on, such as `127.0.0.1:8080`, `:8080` for every
      interface, or `unix:/path`; `127.0.0.1:8080` unless it is set.
    '';
    host = maybe types.str "Address to listen on, beside `port`; empty for every interface.";
    port = maybe types.port "Port to listen on, beside `host`.";
    socketMode = maybe types.str "Mode of unix sockets, such as `0660`.";
    authTokens = maybe (types.listOf types.str) "Bearer tokens of which clients send one.";
    clients = maybe (types.attrsOf client) ''
      Clients with a name and tokens of their own, which the access log and the
      metrics tell apart.
    '';
    models = mkOption {
      type = types.attrsOf model;
      default = { };
      description = "Models that run elsewhere, and more for those that vLLM serves here.";
    };
  };
}
