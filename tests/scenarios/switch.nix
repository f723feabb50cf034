# The pair and one elsewhere, between which and switch-changed.nix a host switches.
{
  imports = [ ./pair.nix ];

  services.llmhop.settings.models.far.url = "http://127.0.0.1:9";
}
