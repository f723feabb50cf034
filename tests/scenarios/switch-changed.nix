# switch.nix with one model changed and one more.
{
  imports = [ ./switch.nix ];

  services.llmhop.vllm.models = {
    b.settings.seed = 1;
    c = {
      model = "m/c";
      port = 18003;
    };
  };
}
