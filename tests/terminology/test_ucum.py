"""UCUM units in canonical terms, exactly (https://ucum.org/ucum)."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminology.ucum import LONGEST, unit


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, "g"), (1000, "mg")),
        ((1, "kg"), (Decimal("1e9"), "ug")),
        ((100, "mg/dL"), (1, "g/L")),
        ((5, "mmol/L"), (5, "mol/m3")),
        ((4, "10*9/L"), (4000, "/uL")),
        ((4, "10*3/uL"), (4, "10^9/L")),
        ((1, "L"), (1, "dm3")),
        ((1, "l"), (1, "L")),
        ((0, "Cel"), (Decimal("273.15"), "K")),
        ((37, "Cel"), (Decimal("98.6"), "[degF]")),
        ((1, "[in_i]"), (Decimal("2.54"), "cm")),
        ((1, "k[iU]/L"), (1, "[iU]/mL")),
        ((1, "[IU]"), (1, "[iU]")),
        ((1, "mL/min/{1.73_m2}"), (1, "mL/min")),
        ((60, "/min"), (1, "Hz")),
        ((1, "%"), (Decimal("0.01"), "1")),
        ((1, "mg%"), (1, "mg/dL")),
        ((1, "m/s/s"), (1, "m.s-2")),
        ((1, "m/(s.s){tested}"), (1, "m/s2")),
        ((1, "mGy"), (Decimal("0.001"), "J/kg")),
        ((180, "deg"), (1, "[pi].rad")),
    ],
)
def test_two_ways_to_say_one_quantity_are_the_same_number(one, other):
    first, second = unit(one[1]), unit(other[1])
    assert first.canonical == second.canonical
    assert first.convert(one[0]) == second.convert(other[0])


@pytest.mark.parametrize(("one", "other"), [("g", "m"), ("g/L", "g"), ("[iU]", "g"), ("Cel", "J"), ("[iU]", "[arb'U]")])
def test_what_measures_something_else_has_another_canonical_unit(one, other):
    assert unit(one).canonical != unit(other).canonical


def test_a_symbol_is_read_whole_before_it_is_read_with_a_prefix():
    assert unit("cd").canonical == "cd"
    assert unit("Pa") == unit("N/m2")
    assert unit("dag").factor == 10
    assert unit("min") == unit("60.s")


@pytest.mark.parametrize("code", ["[pH]", "dB", "Np", "B[SPL]", "%[slope]", "[hp'_X]"])
def test_a_unit_of_a_function_has_no_ratio_to_others(code):
    assert unit(code) is None


@pytest.mark.parametrize("code", ["Cel/h", "2.Cel", "Cel2", "/[degF]", "J/Cel"])
def test_a_temperature_scale_takes_part_in_no_product(code):
    assert unit(code) is None


@pytest.mark.parametrize(
    "code",
    [
        "",
        " ",
        "xyz",
        "m-",
        "2m",
        "m2m",
        "m..s",
        "m/",
        "(m",
        "m)",
        "{a",
        "k",
        "kk",
        "kmin",
        "m 2",
        "MQ",
        "0",
        "é",
        "g" * (LONGEST + 1),
    ],
)
def test_what_is_no_code_is_no_unit(code):
    assert unit(code) is None


@pytest.mark.parametrize("code", ["(" * 60 + "m" + ")" * 60, ".".join(["Ym99"] * 25), "m" + "9" * 100, "9" * 120])
def test_a_code_made_to_be_costly_ends_quickly(code):
    unit(code)


@given(st.text(alphabet="mgkLs12.-/()[]{}*^'iU%é ", max_size=20))
def test_any_text_is_a_unit_or_none(code):
    found = unit(code)
    assert found is None or found.factor > 0


@given(
    st.decimals(min_value=-1000, max_value=1000, allow_nan=False, places=4),
    st.sampled_from(["mg", "[degF]", "mmol/L", "[lb_av]"]),
)
def test_converting_keeps_the_order_and_loses_nothing(value, code):
    found = unit(code)
    assert (found.convert(value) - found.offset) / found.factor == Fraction(value)
    assert found.convert(value) < found.convert(value + 1)
