# What the containers and the router may do, and who may change it.
{ images }:
{
  name = "hardening";
  configurations = [ "pair" ];
  image = images.standin;
}
