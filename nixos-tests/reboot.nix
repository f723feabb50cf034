# What was served is served again after a reboot and after a power failure.
{ images }:
{
  name = "reboot";
  configurations = [ "pair" ];
  image = images.standin;
}
