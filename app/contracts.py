"""What values look like: JSON Schema in short form, as inputs, outputs and forms write it."""

import copy
import functools
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from app.agents.schema_check import LARGEST_SCHEMA, SchemaCheck, SchemaUnusable
from app.source_tree import Path

MOST_PROPERTIES = 200
MOST_VALUES = 200
MOST_VARIANTS = 20
LARGEST_LENGTH = 10_000_000
# Some seconds: an output may be a list of tens of thousands of objects.
MOST_STEPS = 5_000_000
# What `json_schema_of` gives, and no more than that, so that walking it is simple.
Schema = dict[str, Any]
ANYTHING: Schema = {}
# CEL has no member of these names.
RESERVED = frozenset({"true", "false", "null", "in"})


def _is_not_reserved(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"{name!r} is a word of the expression language; choose another name")
    return name


Identifier = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"), AfterValidator(_is_not_reserved)
]
TypeName = Literal["string", "integer", "number", "boolean", "object", "array", "any"]
FormatName = Literal["date-time", "date", "time", "email", "uri", "uuid"]

_BOUNDS_OF: Mapping[str, frozenset[str]] = {
    "minimum": frozenset({"integer", "number"}),
    "maximum": frozenset({"integer", "number"}),
    "min_length": frozenset({"string"}),
    "max_length": frozenset({"string"}),
    "format": frozenset({"string"}),
    "items": frozenset({"array"}),
    "min_items": frozenset({"array"}),
    "max_items": frozenset({"array"}),
    "properties": frozenset({"object"}),
    "additional": frozenset({"object"}),
}
_KEYWORDS = {
    "min_length": "minLength",
    "max_length": "maxLength",
    "min_items": "minItems",
    "max_items": "maxItems",
    "minimum": "minimum",
    "maximum": "maximum",
    "format": "format",
    "description": "description",
}


class Contract(BaseModel):
    """One value: its type, or the variants it may be."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    type: TypeName | None = Field(None, description="Left out with `one_of`, `enum` or `const`: any.")
    description: str = Field("", max_length=2000)
    enum: list[str | int | float | bool] | None = Field(None, min_length=1, max_length=MOST_VALUES)
    const: str | int | float | bool | None = None
    default: Any = Field(None, description="What it is when it is not given; it is optional then.")
    optional: bool = Field(False, description="It may be left out, although it has no default.")
    nullable: bool = Field(False, description="It may be null.")
    minimum: int | float | None = None
    maximum: int | float | None = None
    min_length: int | None = Field(None, ge=0, le=LARGEST_LENGTH, description="In characters.")
    max_length: int | None = Field(None, ge=0, le=LARGEST_LENGTH, description="In characters.")
    format: FormatName | None = Field(None, description="Told to editors and models; not checked.")
    items: "Contract | None" = Field(None, description="What each item is.")
    min_items: int | None = Field(None, ge=0, le=LARGEST_LENGTH)
    max_items: int | None = Field(None, ge=0, le=LARGEST_LENGTH)
    properties: "dict[Identifier, Contract] | None" = Field(None, max_length=MOST_PROPERTIES)
    additional: bool | None = Field(None, description="Members beside `properties` are let through; default: true.")
    one_of: "list[Contract] | None" = Field(None, min_length=1, max_length=MOST_VARIANTS, description="Variants.")
    discriminator: Identifier | None = Field(
        None, description="The property whose `const` tells the variants of `one_of` apart."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        self._check_keywords()
        self._check_bounds()
        self._check_variants()
        if self.has_default and (misfits := violations(json_schema_of(self), self.default)):
            raise ValueError(f"the default does not fit: {', '.join(misfits)}")
        return self

    @property
    def has_default(self) -> bool:
        return "default" in self.model_fields_set

    @property
    def is_required(self) -> bool:
        return not self.optional and not self.has_default

    def _check_keywords(self) -> None:
        for keyword, types in _BOUNDS_OF.items():
            if getattr(self, keyword) is not None and self.type not in types:
                raise ValueError(f"{keyword} belongs to type {' or '.join(sorted(types))}")
        if self.type is None and self.enum is None and self.const is None and self.one_of is None:
            raise ValueError("give a type, for instance `type: string`; for any value `type: any`")
        if self.type is not None and self.one_of is not None:
            raise ValueError("give either type or one_of; each variant has its own type")

    def _check_bounds(self) -> None:
        for least, most in (("minimum", "maximum"), ("min_length", "max_length"), ("min_items", "max_items")):
            low, high = getattr(self, least), getattr(self, most)
            if low is not None and high is not None and low > high:
                raise ValueError(f"{least} is more than {most}")
        bare = json_schema_of(Contract.model_construct(type=self.type))
        values = [*(self.enum or ()), *([] if self.const is None else [self.const])]
        if any(violations(bare, value) for value in values):
            raise ValueError(f"a value of enum or const is no {self.type}")

    def _check_variants(self) -> None:
        if self.discriminator is None:
            return
        names = [(one.properties or {}).get(self.discriminator) for one in self.one_of or ()]
        consts = [name.const for name in names if name is not None and name.const is not None]
        if not consts or len(consts) < len(names) or len(set(consts)) < len(consts):
            raise ValueError(
                f"every variant of one_of needs a property {self.discriminator!r} with a `const` of its own"
            )


def _can_be_checked(contracts: dict[str, Contract]) -> dict[str, Contract]:
    if len(json.dumps(object_schema_of(contracts))) > LARGEST_SCHEMA:
        raise ValueError(f"together these have more than {LARGEST_SCHEMA} bytes of JSON Schema")
    return contracts


Contracts = Annotated[dict[Identifier, Contract], Field(max_length=MOST_PROPERTIES), AfterValidator(_can_be_checked)]


def json_schema_of(contract: Contract) -> Schema:
    """JSON Schema of Draft 2020-12."""
    given = {name: getattr(contract, name) for name in contract.model_fields_set & _KEYWORDS.keys()}
    schema: Schema = {_KEYWORDS[name]: value for name, value in sorted(given.items()) if value not in (None, "")}
    schema |= _values_of(contract) | _parts_of(contract)
    if contract.type not in (None, "any"):
        schema["type"] = contract.type
    return _with_null(schema) if contract.nullable else schema


def object_schema_of(contracts: Mapping[str, Contract], *, closed: bool = False) -> Schema:
    """Of an object with these members; a closed one has no others."""
    schema: Schema = {
        "type": "object",
        "properties": {name: json_schema_of(one) for name, one in contracts.items()},
        "required": [name for name, one in contracts.items() if one.is_required],
    }
    return {**schema, "additionalProperties": False} if closed else schema


def with_defaults(contracts: Mapping[str, Contract], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, and the defaults of those that are not given, in objects within objects as well."""
    filled = {name: _filled(contracts[name], value) if name in contracts else value for name, value in values.items()}
    missing = {
        name: copy.deepcopy(one.default) for name, one in contracts.items() if one.has_default and name not in values
    }
    return {**filled, **missing}


def violations(schema: Schema, value: Any) -> list[str]:
    """What does not fit, by place and rule, and never a value; empty when it fits."""
    try:
        return _check_by(json.dumps(schema, sort_keys=True)).misfits(value, root="value")
    except SchemaUnusable as error:
        return [str(error)]


def schema_at(schema: Schema, path: Path) -> Schema | None:
    """Of the part at ``path``. None: it cannot be there; `ANYTHING`: it may be there, and nothing is known of it."""
    for step in path:
        found = _member(schema, step)
        if found is None:
            return None
        schema = found
    return schema


def path_exists(schema: Schema, path: Path) -> bool:
    """False when nothing that fits the schema has this part."""
    return schema_at(schema, path) is not None


def types_at(schema: Schema, path: Path) -> frozenset[str]:
    """The types that the part at ``path`` may have; empty when it is not known, or not there."""
    found = schema_at(schema, path)
    return _types(found) if found is not None else frozenset()


@functools.lru_cache(maxsize=512)
def _check_by(schema: str) -> SchemaCheck:
    return SchemaCheck("the contract", json.loads(schema), most_steps=MOST_STEPS)


def _values_of(contract: Contract) -> Schema:
    schema: Schema = {"default": contract.default} if contract.has_default else {}
    if contract.const is not None:
        schema["const"] = contract.const
    if contract.enum is not None:
        schema["enum"] = list(contract.enum)
    return schema


def _parts_of(contract: Contract) -> Schema:
    schema: Schema = {}
    if contract.items is not None:
        schema["items"] = json_schema_of(contract.items)
    if contract.properties is not None:
        schema |= object_schema_of(contract.properties)
    if contract.additional is not None:
        schema["additionalProperties"] = contract.additional
    if contract.one_of is not None:
        schema["oneOf"] = [json_schema_of(one) for one in contract.one_of]
    return schema


def _with_null(schema: Schema) -> Schema:
    """The same, or null: some keywords hold for null as well, and it would not fit them."""
    if "enum" in schema or "const" in schema or "oneOf" in schema:
        outside = {key: value for key, value in schema.items() if key in ("description", "default")}
        inside = {key: value for key, value in schema.items() if key not in outside}
        return {**outside, "anyOf": [inside, {"type": "null"}]}
    return {**schema, "type": [schema["type"], "null"]} if "type" in schema else schema


def _filled(contract: Contract, value: Any) -> Any:
    if isinstance(value, dict) and contract.properties is not None:
        return with_defaults(contract.properties, value)
    if isinstance(value, list) and contract.items is not None:
        return [_filled(contract.items, item) for item in value]
    return value


def _member(schema: Schema, step: str | int) -> Schema | None:
    if variants := schema.get("oneOf") or schema.get("anyOf"):
        return _any_of([_member(variant, step) for variant in variants])
    types = _types(schema)
    if isinstance(step, int):
        return schema.get("items", ANYTHING) if not types or "array" in types else None
    if types and "object" not in types:
        return None
    if step in schema.get("properties", {}):
        return dict(schema["properties"][step])
    # Members that a contract does not name may be there, but a document that uses one has to name it.
    return ANYTHING if schema.get("additionalProperties", "properties" not in schema) else None


def _any_of(found: list[Schema | None]) -> Schema | None:
    there = [one for one in found if one is not None]
    if not there:
        return None
    return there[0] if len(there) == 1 else {"anyOf": there}


def _types(schema: Schema) -> frozenset[str]:
    if variants := schema.get("oneOf") or schema.get("anyOf"):
        found = [_types(variant) for variant in variants]
        return frozenset().union(*found) if all(found) else frozenset()
    if values := schema.get("enum") or ([schema["const"]] if "const" in schema else []):
        return frozenset(map(_type_of, values))
    declared = schema.get("type", [])
    return frozenset([declared] if isinstance(declared, str) else declared)


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return {str: "string", int: "integer", float: "number"}[type(value)]
