# The path of a model's option, for messages. Keys such as qwen3.6-35b-a3b are
# quoted in it.
{ lib }:
key: leaf:
lib.showOption [
  "services"
  "llmhop"
  "vllm"
  "models"
  key
  leaf
]
