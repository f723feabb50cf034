"""The contract as JSON Schema (2020-12), made from the models."""

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from llmhop_generator.contract.options import SCHEMA_ID, Config


class _Schema(GenerateJsonSchema):
    """Pydantic's schema without the titles it invents, and with keys held to their pattern."""

    def generate(
        self, schema: core_schema.CoreSchema, mode: JsonSchemaMode = "validation"
    ) -> JsonSchemaValue:
        published = super().generate(schema, mode)
        return {"$schema": self.schema_dialect, "$id": SCHEMA_ID, **published}

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        published = super().dict_schema(schema)
        if "patternProperties" in published:
            published["additionalProperties"] = False
        return published


def contract_schema() -> dict[str, Any]:
    """Give the contract's JSON Schema."""
    return Config.model_json_schema(schema_generator=_Schema)


def contract_schema_text() -> str:
    """Give the contract's JSON Schema as it is committed and published."""
    return json.dumps(contract_schema(), indent=2, ensure_ascii=False) + "\n"
