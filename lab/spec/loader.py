# SPDX-License-Identifier: GPL-2.0-or-later
"""YAML files to frozen models; every problem of a file at once, as `file:line:column: text`."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from lab.errors import SpecError, UserError, did_you_mean
from lab.spec.document import MAX_BYTES, Document, Loc, Mark, Plain, Problem, describe, parse, short

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

M = TypeVar("M", bound=BaseModel)

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "keys with values",
    "model_type": "keys with values",
}


def load(path: Path, model: type[M]) -> M:
    """Read a YAML file as `model`.

    Raises SpecError with all problems of the file, UserError if it cannot be read.
    """
    return load_document(path, model)[0]


def load_document(path: Path, model: type[M]) -> tuple[M, Document]:
    """As `load`, with the document, for checks that need to tell a place."""
    document = parse(_read(path))
    found: M | None = None
    problems = list(document.problems)
    if not problems and document.data is None:
        wanted = ", ".join(name for name, field in model.model_fields.items() if field.is_required())
        problems.append(Problem(Mark(1, 1), f"the file is empty; it must have: {wanted}"))
    elif isinstance(document.data, dict):
        try:
            # Through JSON, because strict pydantic takes a list for a tuple only there.
            found = model.model_validate_json(json.dumps(document.data))
        except ValidationError as error:
            problems += _explain(error.errors(include_url=False), document, model)
    elif document.data is not None and () not in document.unreadable:
        problems.append(
            Problem(document.mark(()), f"expected keys with values, found {_found(document, ())}")
        )
    if found is None or problems:
        raise spec_error(path, problems)
    return found, document


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as handle:
            return handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read {shown(path)}: {error.strerror or error}") from error


def spec_error(path: Path, problems: list[Problem]) -> SpecError:
    """The SpecError with the problems of one file in the order of the file."""
    name = shown(path)
    return SpecError(f"{name}:{mark.line}:{mark.column}: {text}" for mark, text in sorted(set(problems)))


def shown(path: Path) -> str:
    """The path as the user would write it: relative when it is below the working folder."""
    absolute = path.absolute()
    here = Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)


def _explain(errors: list[ErrorDetails], document: Document, model: type[BaseModel]) -> list[Problem]:
    problems: list[Problem] = []
    mistyped: dict[Loc, list[str]] = {}
    for error in errors:
        loc, kind = _real_loc(error, document), error["type"]
        if any(loc[:length] in document.unreadable for length in range(len(loc) + 1)):
            continue
        if kind in _EXPECTED:
            mistyped.setdefault(loc, []).append(_EXPECTED[kind])
        elif kind == "missing":
            problems.append(_missing(loc, document, model))
        elif kind == "extra_forbidden":
            problems.append(_unknown_key(loc, document, model))
        elif text := _wrong_value(error):
            on_key = error["loc"][-1:] == ("[key]",)
            where = "key" if on_key else _dotted(loc)
            problems.append(Problem(document.mark(loc, key=on_key), f"{where}: {text}"))
    problems += [_mistyped(loc, expected, document) for loc, expected in mistyped.items()]
    return problems


def _real_loc(error: ErrorDetails, document: Document) -> Loc:
    """Without pydantic's own parts: `[key]`, and which member of a union was tried."""
    loc: Loc = error["loc"]
    while error["type"] != "missing" and loc not in document.marks:
        loc = loc[:-1]
    return loc


def _at(data: Plain, loc: Loc) -> Plain:
    for part in loc:
        data = data[part]  # type: ignore[index]
    return data


def _dotted(loc: Loc) -> str:
    return ".".join(str(part) for part in loc)


def _missing(loc: Loc, document: Document, model: type[BaseModel]) -> Problem:
    owner = _model_at(model, loc[:-1])
    field = owner.model_fields.get(str(loc[-1])) if owner else None
    what = f": {field.description}" if field is not None and field.description else ""
    inside = f" in {_dotted(loc[:-1])}" if len(loc) > 1 else ""
    return Problem(document.mark(loc[:-1]), f"missing key '{loc[-1]}'{inside}{what}")


def _unknown_key(loc: Loc, document: Document, model: type[BaseModel]) -> Problem:
    owner = _model_at(model, loc[:-1])
    hint = did_you_mean(str(loc[-1]), owner.model_fields if owner else ())
    return Problem(document.mark(loc, key=True), f"unknown key '{loc[-1]}'; {hint}")


def _mistyped(loc: Loc, expected: list[str], document: Document) -> Problem:
    wanted = " or ".join(dict.fromkeys(expected))
    text = f"{_dotted(loc)}: expected {wanted}, found {_found(document, loc)}"
    value = _at(document.data, loc)
    if "text" in expected and isinstance(value, bool | int | float):
        text += "; put it in quotes"
    elif expected == ["a number"] and isinstance(value, str) and value.strip("-").isdigit():
        text += "; leave the quotes off"
    elif expected == ["a list"] and isinstance(value, str):
        text += "; write it as [...]"
    return Problem(document.mark(loc), text)


def _found(document: Document, loc: Loc) -> str:
    value = _at(document.data, loc)
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "keys with values"
    kind = {str: "str", bool: "bool", int: "int", float: "float"}.get(type(value), "null")
    return describe(document.sources.get(loc, str(value)), kind)


def _wrong_value(error: ErrorDetails) -> str:
    """The sentence for a value of the right type that is not allowed; "" if it only follows from another."""
    given, limits, text = error["input"], error.get("ctx", {}), error["msg"]
    match error["type"]:
        case "literal_error":
            allowed = str(limits["expected"])
            words = allowed.replace("'", "").replace(" or ", ", ").split(", ")
            text = f"must be {allowed}, found `{short(str(given))}`"
            if near := difflib.get_close_matches(str(given), words, n=1):
                text += f"; did you mean {near[0]}?"
        case "string_pattern_mismatch":
            text = f"`{short(str(given))}` must match {limits['pattern']}"
        case "string_too_long":
            text = f"longer than {limits['max_length']} characters"
        case "too_short" if len(given) >= limits["min_length"]:
            text = ""  # pydantic counts only the entries that are right
        case "too_short":
            text = f"too short: {len(given)} of at least {limits['min_length']}"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            bound = next(iter(limits.values()))
            text = f"must be {error['type'].replace('_', ' ')} {bound:g}, found {given:g}"
    return text


def _model_at(model: type[BaseModel], loc: Loc) -> type[BaseModel] | None:
    """The model that declares the keys at `loc`."""
    owner: type[BaseModel] | None = model
    inside_container = False
    for part in loc:
        if inside_container:  # `part` is an index, or the name of an entry
            inside_container = False
            continue
        field = owner.model_fields.get(str(part)) if owner else None
        owner = _model_in(field.annotation) if field else None
        inside_container = field is not None and not _is_model(field.annotation)
    return owner


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation is, or holds: `Gpu`, `tuple[Gpu, ...]`, `dict[MetricName, Metric]`."""
    if _is_model(annotation):
        return annotation  # type: ignore[no-any-return]
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
