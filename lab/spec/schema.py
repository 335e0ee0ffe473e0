# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON schemas of the YAML files, for editors that complete and check while one types."""

from __future__ import annotations

from typing import Any

from lab.spec.answer import Answer
from lab.spec.matrix import Matrix
from lab.spec.models import Case, Declared, Machine
from lab.spec.regression import Regression

_KINDS: dict[str, tuple[type[Declared], str]] = {
    "case": (Case, "faultlab case"),
    "machine": (Machine, "faultlab machine"),
    "answer": (Answer, "faultlab answer"),
    "matrix": (Matrix, "faultlab matrix"),
    "regression": (Regression, "faultlab regression"),
}


def schemas() -> dict[str, dict[str, Any]]:
    """By kind ("case", "machine", ...): the schema as JSON data, draft 2020-12."""
    return {
        kind: {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": f"urn:faultlab:{kind}",
            **model.model_json_schema(),
            "title": title,
        }
        for kind, (model, title) in _KINDS.items()
    }
