# Between two specialisations one model changes, and the other serves on.
{ images }:
{
  name = "switch";
  configurations = [
    "switch"
    "switch-changed"
    "switch-off"
  ];
  image = images.standin;
}
