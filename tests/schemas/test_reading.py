"""YAML text to recipes: YAML 1.2, no code, and errors that name the key and its line."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.dataset import DatasetRecipe
from schemas.errors import RecipeError
from schemas.reading import parse, read_recipe, validate


def value_of(text: str) -> Any:
    return parse(f"a: {text}", "a.yaml").value["a"]


def fault_of(read: Any, *arguments: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        read(*arguments)
    message = str(caught.value)
    assert "pydantic" not in message
    return message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e6", 1_000_000),  # a count may be written so
        ("1E6", 1_000_000),
        ("1.0e6", 1e6),
        ("1e300", 1e300),
        ("1e-22", 1e-22),
        ("-1.5e+3", -1500.0),
        (".5", 0.5),
        ("3.", 3.0),
        ("3", 3),
        ("-3", -3),
        ("012", 12),
        ("0x1F", 31),
        ("0o17", 15),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ('"1e6"', "1e6"),
        ("'no'", "no"),
        ("2001-01-01", "2001-01-01"),
        ("[1, 2.5, x]", [1, 2.5, "x"]),
        ("{b: {c: 1}}", {"b": {"c": 1}}),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: Any) -> None:
    found = value_of(text)
    assert found == value
    assert type(found) is type(value)


def test_comments_and_block_texts_are_understood() -> None:
    assert parse("a: |\n  two\n  lines\n# more\nb: 1  # one\n", "a.yaml").value == {
        "a": "two\nlines\n",
        "b": 1,
    }


def test_a_key_given_twice_is_refused_with_the_second_line() -> None:
    with pytest.raises(RecipeError, match="key 'seed' is given twice") as caught:
        parse("name: a\nseed: 1\nseed: 2\n", "a.yaml")
    assert caught.value.where == "a.yaml, line 3"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", 3),
        ("a: 1\n b: 2\n", 2),
        ("a: 1\nb: *nowhere\n", 2),
        ("a: 1\nb: 'open\n", 3),
        ("a: 1\n---\nb: 2\n", 2),
        ("a: 1\n\tb: 2\n", 2),
    ],
)
def test_broken_yaml_names_the_line(text: str, line: int) -> None:
    with pytest.raises(RecipeError, match="broken YAML") as caught:
        parse(text, "a.yaml")
    assert caught.value.where == f"a.yaml, line {line}"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_an_empty_recipe_is_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        validate(parse(text, "a.yaml"), DatasetRecipe)


@pytest.mark.parametrize("text", ["5", "word", "[1, 2]"])
def test_a_recipe_that_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="the recipe: input should be an object"):
        validate(parse(text, "a.yaml"), DatasetRecipe)


def test_a_tag_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with pytest.raises(RecipeError, match="is refused") as caught:
        parse(f"a: 1\nb: !!python/object/apply:os.mkdir ['{trace}']\n", "a.yaml")
    assert not trace.exists()
    assert caught.value.where == "a.yaml, line 2"


@pytest.mark.parametrize(
    "text", ["!mine 1", "!!python/name:os.system x", "!!binary aGk=", "!!set {a}", "!!omap [a: 1]"]
)
def test_every_other_tag_is_refused_too(text: str) -> None:
    with pytest.raises(RecipeError, match="is refused"):
        value_of(text)


def test_an_alias_repeats_a_value() -> None:
    assert parse("a: &x {b: 1}\nc: *x\n", "a.yaml").value == {"a": {"b": 1}, "c": {"b": 1}}


def test_aliases_that_unfold_without_end_are_refused() -> None:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    bomb = "\n".join(["a0: &a0 [x, x]", *levels])
    with pytest.raises(RecipeError, match="unfolds to too many"):
        parse(bomb, "a.yaml")


def test_an_alias_to_itself_is_refused() -> None:
    with pytest.raises(RecipeError, match="unfolds to too many"):
        parse("a: &a [*a]\n", "a.yaml")


def test_a_key_that_is_no_word_is_refused() -> None:
    with pytest.raises(RecipeError, match="a key is not a plain word"):
        parse("? [1, 2]\n: 3\n", "a.yaml")


@pytest.mark.parametrize(("text", "shown"), [(".nan", "nan"), (".inf", "inf"), ("-.inf", "-inf")])
def test_numbers_that_are_not_finite_are_refused_by_name_and_line(
    read: Any, small_text: str, text: str, shown: str
) -> None:
    message = fault_of(read, small_text.replace("theta_E: 1.2", f"theta_E: {text}"))
    assert f"main_lens.theta_E is {shown}" in message
    assert "recipe.yaml, line 8" in message


def test_an_unknown_key_is_named_with_its_line_and_a_suggestion(read: Any, small_text: str) -> None:
    message = fault_of(read, small_text.replace("magnitude: 20", "magnitud: 20"))
    assert "source.magnitud: unknown key; did you mean 'magnitude'?" in message
    assert "recipe.yaml, line 11" in message


@pytest.mark.parametrize(
    ("old", "new", "key", "line"),
    [
        ("theta_E: 1.2", "theta_E: -1.2", "main_lens.theta_E", 8),
        ("theta_E: 1.2", "theta_E: {kind: uniform, low: 1, high: 30}", "main_lens.theta_E", 8),
        ("num_pix: 16", "num_pix: 0", "instrument.num_pix", 16),
        ("num_pix: 16", "num_pix: 16.5", "instrument.num_pix", 16),
        ("samples_per_class: 10", "samples_per_class: 0", "samples_per_class", 5),
        ("samples_per_class: 10", "samples_per_class: -3", "samples_per_class", 5),
        ("seed: 7", "seed: -1", "seed", 4),
        ("seed: 7", f"seed: {2**53}", "seed", 4),
        ("seed: 7", "seed: seven", "seed", 4),
        ("seed: 7", "seed: true", "seed", 4),
        ("count: 3", "count: 0", "classes.cdm.substructure.count", 27),
        ("count: 3", "count: -1", "classes.cdm.substructure.count", 27),
        ("low: 1e8,", "low: 1e11,", "classes.cdm.substructure.mass_msun", 28),
        ("label: 1", "label: 2", "classes.cdm", 23),
        ("name: cdm", "name: CDM", "classes.CDM.name", 23),
        ("0.8, test: 0.2", "0.8, test: 0.1", "splits", 6),
        ("0.8, test: 0.2", "1.2, test: 0.2", "splits.train", 6),
        ("0.8, test: 0.2", "0.8, test: 1/0", "splits.test", 6),
        ("low: 1.0, high: 2.0", "low: 0.4, high: 2.0", "redshifts", 7),
        ("values: [1, 2]", "values: []", "source.n_sersic.values", 13),
        ("values: [1, 2]", "values: [1, 2], weights: [1]", "source.n_sersic", 13),
        ("magnitude: 20", "magnitude: 20\n  amp: 1", "source", 9),
        ("kind: subhalos", "kind: dragons", "classes.cdm.substructure", 25),
        ("kind: log_uniform", "kind: uniforn", "source.R_sersic", 12),
        ("{kind: gaussian, fwhm_arcsec: 0.16}", "{kind: gaussian}", "instrument.psf.fwhm_arcsec", 18),
    ],
)
def test_a_value_that_makes_no_sense_is_named_with_its_line(
    read: Any, small_text: str, old: str, new: str, key: str, line: int
) -> None:
    assert old in small_text
    message = fault_of(read, small_text.replace(old, new))
    assert f"- {key}: " in message
    assert f"recipe.yaml, line {line}\n" in message
    assert message.startswith("1 fault ")


def test_what_follows_from_a_fault_is_no_second_fault(read: Any, small_text: str) -> None:
    without = "\n".join(line for line in small_text.splitlines() if "compensate_mass" not in line)
    message = fault_of(read, without.replace("seed: 7", "seed: -7"))
    assert message.startswith("1 fault ")
    assert "factory" not in message


def test_a_missing_key_is_named(read: Any, small_text: str) -> None:
    assert "- seed: missing" in fault_of(read, small_text.replace("seed: 7\n", ""))


def test_splits_that_do_not_sum_to_one_show_their_sum(read: Any, small_text: str) -> None:
    message = fault_of(read, small_text.replace("test: 0.2", "test: 0.1"))
    assert "sum to 0.9 (4/5 + 0 + 1/10)" in message


def test_shares_are_exact_fractions(read: Any, small_text: str) -> None:
    splits = read(small_text.replace("{train: 0.8, test: 0.2}", "{train: 0.7, val: 0.1, test: 1/5}")).splits
    assert splits.train + splits.val + splits.test == 1
    assert splits.denominator == 10


def test_classes_may_not_repeat_a_name_or_label(read: Any, small_text: str) -> None:
    own_names = small_text.replace("name: cdm", "name: one").replace("label: 1", "label: 50")
    twin = "  - {name: one, label: 51, substructure: {kind: none}}\n"
    assert "classes repeat the name one" in fault_of(read, own_names + twin)
    twin = "  - {name: other, label: 50, substructure: {kind: none}}\n"
    assert "classes repeat the label 50" in fault_of(read, own_names + twin)


def test_all_faults_are_reported_at_once(read: Any, small_text: str) -> None:
    broken = small_text.replace("seed: 7", "sead: 7").replace("num_pix: 16", "num_pix: 2")
    message = fault_of(read, broken.replace("count: 3", "count: 0"))
    assert message.startswith("4 faults")
    for key in ("sead", "seed", "instrument.num_pix", "classes.cdm.substructure.count"):
        assert f"- {key}: " in message


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"cannot read the recipe .*none\.yaml: No such file"):
        read_recipe(tmp_path / "none.yaml", DatasetRecipe)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        read_recipe(tmp_path, DatasetRecipe)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00\x01", b"a: \x00\n", b"\x89PNG\r\n\x1a\n\x00\x00"])
def test_a_binary_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(RecipeError, match=r"a\.yaml"):
        read_recipe(tmp_path / "a.yaml", DatasetRecipe)


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"# " + b"x" * 4_000_000)
    with pytest.raises(RecipeError, match="below 4 MB"):
        read_recipe(tmp_path / "a.yaml", DatasetRecipe)


def test_a_recipe_can_also_be_read_as_json(read: Any, small_text: str) -> None:
    """JSON is YAML: what a store keeps can be given back as a recipe."""
    recipe = read(small_text)
    assert read(json.dumps(recipe.model_dump(mode="json"))) == recipe


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a: " + "[" * 5000 + "]" * 5000, id="RecursionError from brackets nested too deep"),
        pytest.param("a: !!bool maybe", id="read as False"),
    ],
)
def test_hostile_yaml_is_a_recipe_error(text: str) -> None:
    with pytest.raises(RecipeError):
        parse(text, "a.yaml")


def test_a_share_beyond_all_bounds_is_a_fault_of_the_recipe(read: Any, small_text: str) -> None:
    try:
        read(small_text.replace("test: 0.2", 'test: "1e9999"'))
    except RecipeError:
        return


@pytest.mark.parametrize("redshift", [0.3, 0.5])
def test_a_convention_before_the_lens_is_refused(read: Any, small_text: str, redshift: float) -> None:
    with pytest.raises(RecipeError):
        read(small_text, [f"deflection_convention={{z_source_convention: {redshift}, cosmology: {{}}}}"])
