# services.llmhop: the router.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) literalExpression mkOption types;
  packages = import ../lib/packages.nix { inherit pkgs; };
in
{
  options.services.llmhop = {
    enable = lib.mkEnableOption "llmhop, the router in front of the models" // {
      default = config.services.llmhop.vllm.enable;
      defaultText = literalExpression "config.services.llmhop.vllm.enable";
    };

    package = lib.mkPackageOption packages "llmhop" { };

    generatorPackage =
      lib.mkPackageOption packages "llmhop-generator" {
        extraDescription = ''
          Its services have {option}`services.llmhop.package` check the router's
          settings. Where host and build machine have different processors, the
          build checks the configuration with the packages of the build machine.
        '';
      }
      // {
        # So that it is so on the command line too.
        default = packages.llmhop-generator.override { llmhop = config.services.llmhop.package; };
      };

    openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether to open the TCP ports on which the router listens for the
        network (`listen`, or `host` and `port`, in `settings`) in the firewall.
        Ports on loopback addresses stay closed. Set `authTokens` where not
        everybody who reaches the port may use the models.
      '';
    };

    waitUntilHealthy = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = ''
        Whether a switch waits until every model answers, and fails where one
        does not come up. Otherwise it ends when all have been told to start.
      '';
    };

    settings = mkOption {
      type = import ./settings.nix {
        inherit lib;
        json = (pkgs.formats.json { }).type;
      };
      default = { };
      example = literalExpression ''
        {
          listen = [ "127.0.0.1:8080" "unix:/run/llmhop/llmhop.sock" ];
          authTokens = [ "\''${file:api-token}" ];
          models."gpt-4o" = {
            url = "https://api.openai.com";
            headers.Authorization = "Bearer \''${file:openai-key}";
          };
        }'';
      description = ''
        Configuration of the router: `listen` (or `host` and `port`), `tls`,
        `authTokens`, `maxBodyBytes`, `workers` and, under `models`, models
        that run elsewhere; `llmhop --schema` describes all of it. The models
        of {option}`services.llmhop.vllm.models` are added by the generator,
        and an entry here without `url` or `urls` adds headers or aliases to one of them.

        These values reach the world-readable Nix store. Write secrets as
        `''${file:name}`, with `name` being a credential that
        `systemd.services.llmhop.serviceConfig.LoadCredential` loads, or as
        `''${env:NAME}`.
      '';
    };
  };
}
