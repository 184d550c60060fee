"""What ships with the plugin about models agrees with what it does with them."""

from __future__ import annotations

from router_gemini import Gemini
from router_gemini.traits import traits


def test_every_model_has_a_path_and_a_price(gemini: Gemini) -> None:
    models = gemini.catalogue()

    assert len({model.id for model in models}) == len(models) > 10
    assert not [model.id for model in models if "/" in model.id or model.id.startswith("models")]
    assert [model.id for model in models if model.id.startswith("gemini-2.5-") and model.price is None] == []


def test_the_efforts_listed_are_the_levels_sent(gemini: Gemini) -> None:
    efforts = {model.id: {effort.upper() for effort in model.efforts} - {"NONE"} for model in gemini.catalogue()}
    listed = {id: words for id, words in efforts.items() if words}

    assert listed
    assert listed == {id: set(traits(id).levels) for id in listed}


def test_models_that_think_in_words_can_be_told_how_much(gemini: Gemini) -> None:
    thinking = [each for each in gemini.catalogue() if each.reasoning and each.output_modalities == ["text"]]

    assert [each.id for each in thinking if not (traits(each.id).budgets or traits(each.id).levels)] == []
