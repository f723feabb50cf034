# A few lines of NixOS configuration become an answer of a real vLLM.

import json

MODELS = {"tiny-1.0": 18001, "tiny-2.0": 18002}

machine.start()

with subtest("both models come up, one after the other"):
    for name in MODELS:
        machine.wait_for_unit(f"vllm-{name}.service", user="vllm")
    healthy = machine.get_unit_property(
        "vllm-tiny-1.0.service", "ActiveEnterTimestampMonotonic", user="vllm"
    )
    started = machine.get_unit_property(
        "vllm-tiny-2.0.service", "InactiveExitTimestampMonotonic", user="vllm"
    )
    assert 0 < int(healthy) <= int(started), (healthy, started)

with subtest("vLLM took the settings"):
    limits = {}
    for port in MODELS.values():
        listed = json.loads(machine.succeed(f"curl -fsS http://127.0.0.1:{port}/v1/models"))
        limits |= {model["id"]: model["max_model_len"] for model in listed["data"]}
    assert limits == {"tiny-1.0": 256, "tiny-2.0": 128}, limits

with subtest("llmhop lists both and nothing else"):
    machine.wait_for_open_port(8080)
    listed = json.loads(machine.succeed("curl -fsS http://127.0.0.1:8080/v1/models"))
    assert {model["id"] for model in listed["data"]} == set(MODELS)

for name in MODELS:
    with subtest(f"{name} answers an OpenAI client through llmhop"):
        answer = json.loads(machine.succeed(f"chat {name} 'Say something.'"))
        assert answer["model"] == name, answer
        assert answer["content"], answer

    with subtest(f"{name} streams its answer"):
        answer = json.loads(machine.succeed(f"chat --stream {name} 'Say something.'"))
        assert answer["model"] == name, answer
        assert answer["chunks"] > 2, answer
