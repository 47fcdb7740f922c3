"""Settings of engines that only make sense together."""

import pytest

from appliance.app.assembly import check_choices, with_wrong_choices
from appliance.settings import SettingsProblems, load


@pytest.fixture
def read(tmp_path):
    """Loads settings with a state folder of their own."""

    def read(**variables):
        environ = {"APPLIANCE_PATHS__STATE": str(tmp_path)}
        environ |= {f"APPLIANCE_{name}": value for name, value in variables.items()}
        return load(environ, secrets_dir=tmp_path / "none").settings

    return read


def test_limits_that_are_not_named_stay_as_they_are(read):
    """One precision is set, the others keep their own."""
    verify = read(VERIFY__F1="int8=0.9", VERIFY__BOX_PX="fp16=2, int8=10").verify
    assert verify.of("int8") == {"f1": 0.9, "top1": 0.95, "box_px": 10, "score": 0.15}
    assert verify.of("fp16") == {"f1": 0.99, "top1": 0.99, "box_px": 2, "score": 0.01}
    assert verify.of("fp32") == {"f1": 0.99, "top1": 0.99, "box_px": 0.25, "score": 0.01}


@pytest.mark.parametrize("text", ["fp8=1", "fp16", "fp16=0", "fp16=-1", "fp16=1, fp16=2", "fp16=x"])
def test_limits_that_are_none_are_refused(read, text):
    """With the variable's name and the form it has."""
    with pytest.raises(SettingsProblems) as caught:
        read(VERIFY__SCORE=text)
    (problem,) = caught.value.problems
    assert problem.variable == "APPLIANCE_VERIFY__SCORE"
    assert problem.expected == "list of PRECISION=LIMIT"


@pytest.mark.parametrize(
    ("backend", "require"), [("auto", "tensorrt"), ("cpu", "any"), ("rtx", "rtx")]
)
def test_a_requirement_that_can_be_met_is_no_problem(read, backend, require):
    """Nothing is said of settings that agree."""
    check_choices(read(ENGINE__BACKEND=backend, ENGINE__REQUIRE=require))


def test_requiring_another_runtime_than_the_one_asked_for_is_a_problem(read):
    """It could never be ready: that is told before anything is built."""
    with pytest.raises(SettingsProblems) as caught:
        check_choices(read(ENGINE__BACKEND="cpu", ENGINE__REQUIRE="tensorrt"))
    (problem,) = caught.value.problems
    assert problem.variable == "APPLIANCE_ENGINE__REQUIRE"
    assert "APPLIANCE_ENGINE__BACKEND" in problem.problem


@pytest.mark.parametrize(
    ("wrong", "listed"),
    [
        ({"LIVE__FPS": "x"}, {"LIVE__FPS", "MODEL", "CAMERAS__GATE__MODEL", "ENGINE__REQUIRE"}),
        ({"PATHS__STATE": "x"}, {"PATHS__STATE", "ENGINE__REQUIRE"}),
        ({"ENGINE__BACKEND": "x"}, {"ENGINE__BACKEND", "MODEL", "CAMERAS__GATE__MODEL"}),
        ({"MODEL": "../x"}, {"MODEL", "CAMERAS__GATE__MODEL", "ENGINE__REQUIRE"}),
        (
            {"CAMERAS__GATE__URL": "x://"},
            {"CAMERAS__GATE__URL", "MODEL", "CAMERAS__GATE__MODEL", "ENGINE__REQUIRE"},
        ),
    ],
)
def test_what_is_judged_last_is_listed_with_the_rest(read, wrong, listed):
    """A model that nobody has is told beside a misspelt number."""
    own = {
        "MODEL": "nobodys",
        "CAMERAS__GATE__URL": "/clip.avi",
        "CAMERAS__GATE__MODEL": "nobodys",
        "ENGINE__BACKEND": "cpu",
        "ENGINE__REQUIRE": "tensorrt",
    }
    with pytest.raises(SettingsProblems) as caught:
        read(**{**own, **wrong})
    problems = with_wrong_choices(caught.value).problems
    assert sorted(item.variable for item in problems) == sorted(f"APPLIANCE_{it}" for it in listed)
