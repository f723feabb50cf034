# A model that cannot start: the switch says so, and the others serve.
{ images }:
{
  name = "failing";
  configurations = [ "failing" ];
  applied = false;
  image = images.standin;
}
