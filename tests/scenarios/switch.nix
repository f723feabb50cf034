# Two models here and one elsewhere, between which and switch-changed.nix a host switches.
{
  services.llmhop = {
    settings.models.far.url = "http://127.0.0.1:9";
    vllm = {
      enable = true;
      uid = 503;
      subUidStart = 300000;
      image = "localhost/standin";
      tag = "v0.12.0";
      models = {
        a = {
          model = "m/a";
          port = 18001;
        };
        b = {
          model = "m/b";
          port = 18002;
        };
      };
    };
  };
}
