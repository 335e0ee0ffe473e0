# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's end of the talk with a nested lab host, which may say anything."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.campaign import inside, talk
from lab.errors import InfraError
from lab.guest.guest import End
from lab.guest.port import Messages, framed
from lab.waiting import Deadline


def guest(said: bytes) -> Any:
    """A host that has said that."""
    messages = Messages()
    messages.feed(framed(said))
    return SimpleNamespace(
        streams=SimpleNamespace(port=SimpleNamespace(messages=messages)),
        wait_until=lambda happened, *_, **__: End.HAPPENED if happened() else End.DEADLINE,
        folder=Path("/run"),
    )


def test_a_host_tells_of_itself() -> None:
    """What one end writes the other one reads."""
    about = talk.facts(guest(inside.OK + inside.about()), Deadline("start", 1))
    assert about == inside.About.model_validate_json(inside.about())


@pytest.mark.parametrize(
    "said", [b"", b"\xff", b"[]", b"{}", b'{"kvm": "", "udmabuf": 1}', b"[" * 100_000, b'{"kvm": ""}']
)
def test_a_host_that_does_not_say_what_it_has(said: bytes) -> None:
    """It is lost, and the error names its console; it is no reason for a traceback."""
    with pytest.raises(InfraError, match="the nested lab host is lost") as caught:
        talk.facts(guest(inside.OK + said), Deadline("start", 1))
    assert "console.log" in caught.value.hint
