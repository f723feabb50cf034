# Two models come up one after the other and answer, also in a stream. A
# stand-in answers here; see two-models-vllm.nix.
{ images }:
{
  name = "two-models";
  configurations = [ "two-models" ];
  image = images.standinForVllm;
}
