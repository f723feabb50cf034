# Keys that a deployer adds to the units of models: for every model, or for one.
# `path` leads to the backend-wide options, null where these are those.
{ lib, path }:
let
  inherit (lib) mkOption types;

  value = types.oneOf [
    types.bool
    types.int
    types.float
    types.str
  ];

  keys =
    section: option: more:
    mkOption (
      {
        type = types.attrsOf (types.either value (types.listOf value));
        default = { };
        description =
          if path != null then
            "Keys for `[${section}]` in the unit of this model. They win over {option}`${path}.${option}`, key by key: a list here takes the place of the one there."
          else
            ''
              Keys for `[${section}]` in the unit of every model, written as they
              stand after llmhop's own. A key that takes one value is replaced, one
              that takes several is added to, and `""` as the first of a list
              empties it before. The items of a list become a line each; `[ ]` for a
              model writes none. ${more.about}
            '';
      }
      // lib.optionalAttrs (path == null) { inherit (more) example; }
    );
in
{
  unitConfig = keys "Unit" "unitConfig" {
    about = ''
      See {manpage}`systemd.unit(5)`. What systemd would pass over fails the build, as do names
      that are no units' (`example` without `.service`), orders in a circle, and keys by which a
      model would stop or start with another: `BindsTo`, `Conflicts`, `PartOf`,
      `PropagatesStopTo`, `Requires`, `Requisite`, `StopPropagatedFrom`, `Upholds`. Between
      models use `After`, which only orders. The units are those of the manager of
      {option}`services.llmhop.vllm.user`, which does not see the system's. A mount is waited for
      where a `Volume` needs it.'';
    example.PartOf = "inference.target";
  };

  serviceConfig = keys "Service" "serviceConfig" {
    about = ''
      See {manpage}`systemd.service(5)`. `ExecStart` and `Type` are Podman's and refused, and
      what systemd would pass over, such as a misspelt key, fails the build. So do keys that only
      root may set, such as `Nice` below 0, and sandboxes in which rootless Podman starts no
      container, such as `NoNewPrivileges` or `ProtectSystem`.'';
    example.MemoryMax = "64G";
  };

  containerConfig = keys "Container" "containerConfig" {
    about = ''
      See {manpage}`podman-systemd.unit(5)`. Keys that llmhop has an option for and
      knows a model by, such as `Image`, `Exec` and `PublishPort`, are refused, and what would
      keep it from reaching one: `Network = "host"`, a pod, a health check that never runs. So are
      the same as arguments in `PodmanArgs`. Podman refuses the keys that it does not know,
      and values that are wrong on every host, such as `Ulimit = "nofile=9:5"`;
      either fails the build. Where a model sets `Ulimit`, it no longer has every limit of its
      service, but Podman's defaults and those. Values
      reach the world-readable Nix store; secrets belong in
      {option}`services.llmhop.vllm.environmentFile`.'';
    example = {
      GroupAdd = "keep-groups";
      Volume = [ "/srv/templates:/templates:ro" ];
    };
  };
}
