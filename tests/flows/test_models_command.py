"""What `lensmill models` lists."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.flows.messages import one_message
from train.models.families import FAMILIES

Lensmill = Callable[..., Any]
BAD_INPUT = 2


def test_models_lists_and_searches(lensmill: Lensmill) -> None:
    said = lensmill("models", "swin_tiny")
    assert said.code == 0
    assert "swin_tiny_patch4_window7_224" in said.out
    assert "lensmill_stem_vit" not in said.out
    whole = lensmill("models", "--names").out
    assert whole.index("lensmill_stem_vit") < whole.index("swin_tiny_patch4_window7_224")
    assert int(whole.splitlines()[-1].split()[0].replace(",", "")) > 500
    assert said.out.endswith("\n1 model\n")
    assert whole.endswith(" models\n")


@pytest.mark.parametrize("options", [(), ("--names",), ("--json",)])
def test_models_that_nobody_has(lensmill: Lensmill, options: tuple[str, ...]) -> None:
    said = lensmill("models", "swin_tin_patch4_window7_224", *options)
    assert one_message(said, BAD_INPUT).startswith("error: unknown model 'swin_tin_patch4_window7_224'")
    assert "did you mean 'swin_tiny_patch4_window7_224'?" in said.err
    assert "`lensmill models` lists them" in lensmill("models", "zzz").err


def test_models_shows_families_first(lensmill: Lensmill) -> None:
    whole = lensmill("models")
    assert whole.code == 0
    assert whole.out.index("lensmill_stem_vit") < whole.out.index("vit_tiny_patch16_224")
    assert all(name in whole.out for family in FAMILIES for name in family.names)
    assert "vit_base_patch16_224" not in whole.out, "names are for those who ask"
    botnet = lensmill("models", "botnet26").out
    assert botnet.index("BotNet") < botnet.index("timm")
    found = json.loads(lensmill("models", "botnet26", "--json").out)
    assert [one["family"] for one in found["families"]] == ["BotNet"]
    facts = found["families"][0]["members"]["botnet26t_256"]
    assert facts["ways"]["150"]["method"] == "padded"
    assert found["names"] == ["botnet26t_256"]
