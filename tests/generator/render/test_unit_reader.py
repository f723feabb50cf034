"""Names of models, of their sources and of their services, from one to the other."""

import re
from typing import get_args

from hypothesis import example, given
from hypothesis import strategies as st
from llmhop_generator.contract.options import ModelName
from llmhop_generator.contract.text import Matching
from llmhop_generator.unit_names import model_of, service_of

(PATTERN,) = (m.pattern for m in get_args(ModelName) if isinstance(m, Matching))


@given(st.from_regex(re.compile(PATTERN, re.ASCII), fullmatch=True))
@example("a.service")
@example("a.container")
@example("a.service.container")
@example("a.container.service.service")
@example("vllm-a")
def test_a_model_is_known_by_its_source_and_by_its_service(name: str) -> None:
    source = f"vllm-{name}.container"
    assert model_of(source) == name
    assert model_of(service_of(source)) == name
