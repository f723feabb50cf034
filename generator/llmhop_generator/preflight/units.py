"""What somebody has done to the units of models in their user's manager."""

from collections.abc import Iterator

from llmhop_generator.contract.model import Vllm
from llmhop_generator.errors import Problem, option_path
from llmhop_generator.host.process import account_of
from llmhop_generator.host.systemd import UserManager, system_states
from llmhop_generator.layout import user_manager
from llmhop_generator.render.model_unit import file_name
from llmhop_generator.render.unit_text import service_of


def mask_findings(vllm: Vllm) -> Iterator[Problem]:
    """Find the models whose services are masked (systemctl(1)): no unit of ours can start them.

    Raises:
        GeneratorError: the user's manager can't be asked.
    """
    manager = user_manager(vllm.uid)
    if system_states([manager])[manager].active != "active":
        return
    services = {
        name: service_of(file_name(model)) for name, model in vllm.models.items() if model.enable
    }
    states = UserManager(account_of(vllm.uid)).states([*services.values()])
    for name, service in services.items():
        if states[service].is_masked:
            runtime = " --runtime" if states[service].file_state.endswith("runtime") else ""
            yield Problem(
                option_path(("vllm", "models", name)),
                f"{service} is masked, so nothing can start it; unmask it by `systemctl --user "
                f"-M {vllm.user}@.host unmask{runtime} {service}`, or disable the model",
            )
