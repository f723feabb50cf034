# Two models of the stand-in engine and nothing else.
{
  services.llmhop.vllm = {
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
}
