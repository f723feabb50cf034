# systemd-tmpfiles gives dataDir and cacheDir to the models' user: neither may be the
# system's or anybody else's. What only the host knows, a switch asks it (pre-switch-check.nix).
{ config, lib, ... }:
let
  cfg = config.services.llmhop.vllm;
  host = import ../lib/host.nix { inherit lib; };
  inherit (import ../lib/paths.nix { inherit lib; }) isWithin plain;
  owners = import ../lib/directory-owners.nix { inherit config lib; };

  option = name: "services.llmhop.vllm.${name}";
  data = plain cfg.dataDir;
  cache = plain cfg.cacheDir;
  # What the cache would open to containers of the home's own.
  opened = lib.findFirst (own: isWithin cache own || isWithin own cache) null (
    map (directory: "${data}/${directory}") host.home_directories
  );

  # Why nothing can be at a path, by the tree that it is in.
  trees = lib.concatMap (trees: map (tree: { inherit tree; inherit (trees) why; }) trees.paths) host.trees;
  treeOf = path: lib.findFirst (each: isWithin path each.tree) null trees;
  isOfSystem = path: lib.elem path host.system_directories || treeOf path != null;

  ofOne =
    name: examples:
    let
      given = toString cfg.${name};
      path = plain given;
      isGenerators = isWithin path host.state_dir;
      othersOf =
        wanted:
        lib.filter (
          other: isWithin other.path wanted || other.isClosed && isWithin wanted other.path
        ) owners;
      others = othersOf path;
      # One that would do, as somebody may have the first.
      example = lib.findFirst (wanted: othersOf wanted == [ ]) "one in /srv" examples;
    in
    [
      {
        assertion = !lib.elem ".." (lib.splitString "/" given);
        message = ''
          ${option name} is ${given}, and systemd-tmpfiles refuses paths with `..`.
          Write the path without it.
        '';
      }
      {
        assertion = !isOfSystem path;
        message = ''
          ${option name} is ${given}, ${
            if treeOf path == null then
              "a directory of the system, which would be given to ${cfg.user}"
            else
              "in ${(treeOf path).tree}, ${(treeOf path).why}"
          }. Name one for the models alone, such as ${example}.
        '';
      }
      {
        assertion = !isGenerators;
        message = ''
          ${option name} is ${given}, in ${host.state_dir}, where llmhop-generator keeps
          its own. Name another, such as ${example}.
        '';
      }
      {
        assertion = others == [ ] || isOfSystem path || isGenerators;
        message = ''
          ${option name} is ${given}, which would be given to ${cfg.user}, and is also set
          or needed by ${lib.concatMapStringsSep ", " (other: other.option) others}. Name one
          for the models alone, and not in what they can't enter, such as ${example}.
        '';
      }
    ];
in
{
  config = lib.mkIf cfg.enable {
    assertions =
      ofOne "dataDir" [
        "/var/lib/vllm"
        "/var/lib/vllm-home"
      ]
      ++ ofOne "cacheDir" [
        "/var/cache/vllm"
        "/var/cache/vllm-models"
      ]
      ++ [
        {
          assertion = !isWithin data cache || isOfSystem cache;
          message = ''
            ${option "dataDir"} is ${toString cfg.dataDir}, ${
              if data == cache then "the same as" else "in"
            } ${option "cacheDir"} (${toString cfg.cacheDir}), which
            containers can write, and with it what starts them. Name another directory
            for one of the two.
          '';
        }
        {
          assertion = opened == null || isWithin data cache || isOfSystem cache;
          message = ''
            ${option "cacheDir"} is ${toString cfg.cacheDir}, which would let containers write
            ${toString opened}, by which they are started. Name another, such
            as /var/cache/vllm.
          '';
        }
      ];
  };
}
