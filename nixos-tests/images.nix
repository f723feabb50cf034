# Images that compute on the CPU, of nixpkgs' own packages: no registry is reached.
{ pkgs }:
let
  inherit (pkgs) lib;

  image =
    {
      name,
      tag,
      otherTags ? [ ],
      contents,
    }:
    {
      inherit name otherTags tag;
      stream = pkgs.dockerTools.streamLayeredImage {
        inherit name tag;
        contents = contents ++ [
          pkgs.bashInteractive
          pkgs.coreutils
          pkgs.dockerTools.fakeNss
          pkgs.dockerTools.usrBinEnv
        ];
        config.Entrypoint = [
          "vllm"
          "serve"
        ];
      };
    };

  # The engine that answers without a model.
  engine = pkgs.writeTextFile {
    name = "standin";
    destination = "/bin/vllm";
    executable = true;
    text = builtins.readFile ../tests/images/standin/vllm.py;
  };
  standinNamed =
    arguments:
    image (
      arguments
      // {
        contents = [
          engine
          pkgs.python3
        ];
      }
    );

  # vLLM is built for the CPU where nixpkgs' config has no cudaSupport.
  vllm = pkgs.python3.withPackages (ps: [ ps.vllm ]);
  tinyModel = pkgs.runCommand "tiny-model" { nativeBuildInputs = [ vllm ]; } ''
    export HOME=$TMPDIR
    mkdir -p "$out/models"
    python3 ${../tests/images/vllm/tiny_model.py} "$out/models/tiny"
  '';
in
{
  standin = standinNamed {
    name = "localhost/standin";
    tag = "v0.12.0";
  };

  # Under the name that the scenario of the real one has.
  standinForVllm = standinNamed {
    name = "localhost/vllm-cpu";
    tag = "0.32.0";
  };

  vllm = image {
    name = "localhost/vllm-cpu";
    tag = "0.32.0";
    contents = [
      tinyModel
      vllm
      # For what torch compiles when it starts.
      pkgs.stdenv.cc
    ];
  };
}
