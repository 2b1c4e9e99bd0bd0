"""JSON schemas (2020-12) of protobuf messages, with their comments and their bounds."""

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from buf.validate import validate_pb2
from services.gateway.http.comments import Comments

Schema = dict[str, Any]

_WELL_KNOWN: Mapping[str, Schema] = {
    "google.protobuf.Timestamp": {
        "type": "string",
        "format": "date-time",
        "examples": ["2026-01-31T12:00:00Z"],
    },
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
    "google.protobuf.FieldMask": {"type": "string", "examples": ["points.dailyCap"]},
    "google.protobuf.Any": {
        "type": "object",
        "properties": {"@type": {"type": "string", "description": "The message's type."}},
        "required": ["@type"],
    },
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array"},
}
_WIDE = {
    FieldDescriptor.CPPTYPE_INT64: "int64",
    FieldDescriptor.CPPTYPE_UINT64: "uint64",
}
_NARROW = {
    FieldDescriptor.CPPTYPE_INT32: ("int32", -(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: ("uint32", 0, 2**32 - 1),
}


class Schemas:
    """Makes the schemas of messages and keeps those that are referred to, by component name."""

    def __init__(self, comments: Comments) -> None:
        self._comments = comments
        self.components: dict[str, Schema] = {}

    def reference(self, descriptor: Descriptor) -> Schema:
        """The schema of a message: in place for a well-known one, else a reference."""
        known = _WELL_KNOWN.get(descriptor.full_name)
        if known is not None:
            return dict(known)
        name = component_name(descriptor.full_name)
        if name not in self.components:
            self.components[name] = {}
            self.components[name] = self.message(descriptor)
        return {"$ref": f"#/components/schemas/{name}"}

    def message(self, descriptor: Descriptor, without: Iterable[str] = ()) -> Schema:
        """The schema of a message as an object, without some of its fields."""
        left_out = frozenset(without)
        fields = [field for field in descriptor.fields if field.name not in left_out]
        schema: Schema = {
            "type": "object",
            "properties": {field.json_name: self.field(field) for field in fields},
        }
        required = [field.json_name for field in fields if self.is_required(field)]
        if required:
            schema["required"] = required
        _describe(schema, self._comments.of(descriptor.full_name))
        return schema

    def is_required(self, field: FieldDescriptor) -> bool:
        """True where the field's comment begins with `Required.`; a oneof's member never is."""
        oneof = field.containing_oneof
        return oneof is None and self._comments.of(field.full_name).startswith("Required.")

    def field(self, field: FieldDescriptor) -> Schema:
        """The schema of a field, with its comment and its bounds."""
        rules = field.GetOptions().Extensions[validate_pb2.field]
        comment = self._comments.of(field.full_name)
        message = field.message_type
        if message is not None and message.GetOptions().map_entry:
            value = self._single(message.fields_by_name["value"], rules.map.values)
            schema: Schema = {"type": "object", "additionalProperties": value}
            if rules.map.HasField("max_pairs"):
                schema["maxProperties"] = rules.map.max_pairs
        elif field.is_repeated:
            schema = {"type": "array", "items": self._single(field, rules.repeated.items)}
            if rules.repeated.HasField("min_items"):
                schema["minItems"] = rules.repeated.min_items
            if rules.repeated.HasField("max_items"):
                schema["maxItems"] = rules.repeated.max_items
        else:
            schema = self._single(field, rules)
        _describe(schema, comment)
        if comment.startswith("Output only."):
            schema["readOnly"] = True
        return schema

    def _single(self, field: FieldDescriptor, rules: validate_pb2.FieldRules) -> Schema:
        if field.message_type is not None:
            return self.reference(field.message_type)
        if field.enum_type is not None:
            return self._enum(field.enum_type, rules)
        if field.cpp_type in _WIDE:
            return _wide(_WIDE[field.cpp_type], rules)
        if field.cpp_type in _NARROW:
            name, low, high = _NARROW[field.cpp_type]
            return {
                "type": "integer",
                "format": name,
                "minimum": low,
                "maximum": high,
                **_bounds(rules),
            }
        if field.type == FieldDescriptor.TYPE_BOOL:
            return {"type": "boolean"}
        if field.type == FieldDescriptor.TYPE_STRING:
            return _text(rules)
        if field.type == FieldDescriptor.TYPE_BYTES:
            return {"type": "string", "contentEncoding": "base64"}
        return {"type": "number"}

    def _enum(self, enum: EnumDescriptor, rules: validate_pb2.FieldRules) -> Schema:
        barred = set(rules.enum.not_in)
        values = [value for value in enum.values if value.number not in barred]
        scope = enum.full_name.rpartition(".")[0]
        return {
            "type": "string",
            "enum": [value.name for value in values],
            "x-enum-descriptions": [self._comments.of(f"{scope}.{v.name}") for v in values],
        }


def component_name(full_name: str) -> str:
    """The name of a message's component: `ledger.Account` for `loyalty.ledger.v1.Account`."""
    parts = full_name.split(".")
    if parts[0] == "loyalty":
        return ".".join(part for part in parts[1:] if part != "v1")
    return full_name


def _describe(schema: Schema, comment: str) -> None:
    if comment:
        schema["description"] = comment


def _number_rules(rules: validate_pb2.FieldRules) -> Any:
    kind = rules.WhichOneof("type")
    return getattr(rules, kind) if kind is not None else None


def _bounds(rules: validate_pb2.FieldRules) -> Schema:
    numbers = _number_rules(rules)
    bounds: Schema = {}
    if numbers is None:
        return bounds
    for rule, keyword in (
        ("gte", "minimum"),
        ("lte", "maximum"),
        ("gt", "exclusiveMinimum"),
        ("lt", "exclusiveMaximum"),
    ):
        if numbers.HasField(rule):
            bounds[keyword] = getattr(numbers, rule)
    if numbers.not_in:
        bounds["not"] = {"enum": list(numbers.not_in)}
    return bounds


def _wide(name: str, rules: validate_pb2.FieldRules) -> Schema:
    """A 64-bit integer is a string of digits; its bounds stand beside for people and tools."""
    bounds = _bounds(rules)
    barred = bounds.pop("not", None)
    signed = bounds.get("minimum", -1) < 0 and name == "int64"
    schema = {
        "type": "string",
        "format": name,
        "pattern": "^-?[0-9]{1,19}$" if signed else "^[0-9]{1,20}$",
        **bounds,
    }
    if barred is not None:
        schema["not"] = {"enum": [str(value) for value in barred["enum"]]}
    return schema


def _text(rules: validate_pb2.FieldRules) -> Schema:
    text = rules.string
    schema: Schema = {"type": "string"}
    if text.HasField("pattern"):
        schema["pattern"] = text.pattern
    if text.HasField("min_len"):
        schema["minLength"] = text.min_len
    if text.HasField("max_len"):
        schema["maxLength"] = text.max_len
    if text.uuid:
        schema["format"] = "uuid"
    if text.not_in:
        schema["not"] = {"enum": list(text.not_in)}
    return schema
