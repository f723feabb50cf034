# One model that can't start, one that hangs after a while, and a good one between them.
{
  services.llmhop.vllm = {
    enable = true;
    uid = 503;
    subUidStart = 300000;
    image = "localhost/standin";
    tag = "v0.12.0";
    models = {
      bad = {
        model = "m/bad";
        port = 18001;
        environment.STANDIN_FAIL_START = "1";
        # Every try as soon as the first one, so that the limit trips in time.
        serviceConfig.RestartSec = 10;
      };
      good = {
        model = "m/b";
        port = 18002;
      };
      hangs = {
        model = "m/hangs";
        port = 18003;
        environment = {
          STANDIN_START_DELAY = "8";
          STANDIN_UNHEALTHY_AFTER = "30";
        };
      };
    };
  };
}
