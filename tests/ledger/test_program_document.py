"""The settings of the contract, of the code and of `docs/settings.md` are the same ones."""

from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from loyalty.ledger.v1 import program_pb2
from services.ledger.domain.config import NEVER
from services.ledger.domain.program_settings import DEFAULTS, PATHS
from services.ledger.domain.programs import OrganizationSettings
from tests.tidy.settings_document import render, rows

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
SETTINGS = {row.path: row for row in rows(program_pb2.ProgramSettings.DESCRIPTOR)}
# Defaults that the comments have other words for.
IN_WORDS: dict[str, Any] = {
    "one, `never`, of kind NONE": (NEVER,),
    "the first one": "",
    "the program's default currency": "",
    "`spend`": ("spend",),
    "on": True,
    "off": False,
}


def in_words(value: Any) -> set[str]:
    """What a comment may call a default."""
    if value in (None, (), ""):
        return {"none", "always", "for ever"}
    if isinstance(value, IntEnum):
        return {value.name}
    return {f"{value:,}" if isinstance(value, int) else str(value)}


def test_the_page_is_what_the_contract_says() -> None:
    assert PAGE.read_text() == render(), (
        "run python -m tests.tidy.settings_document > docs/settings.md"
    )


def test_every_setting_of_the_contract_is_kept_and_no_other() -> None:
    organization = [row.path for row in rows(program_pb2.OrganizationSettings.DESCRIPTOR)]

    assert sorted(PATHS) == sorted(SETTINGS)
    assert organization == list(OrganizationSettings.__dataclass_fields__)


@pytest.mark.parametrize("path", PATHS)
def test_the_contract_says_the_default_that_is_meant(path: str) -> None:
    said = SETTINGS[path].default
    default = DEFAULTS[path]

    assert IN_WORDS.get(said) == default if said in IN_WORDS else said in in_words(default)


def test_a_setting_without_a_default_is_found() -> None:
    with pytest.raises(ValueError, match="CreateOrganizationRequest"):
        list(rows(program_pb2.CreateOrganizationRequest.DESCRIPTOR))
