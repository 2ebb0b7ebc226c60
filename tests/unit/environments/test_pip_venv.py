import pytest
from pylonyard.environments.pip_venv import replacing
from pylonyard.packages.metadata import described
from support import make_wheel


@pytest.mark.parametrize("name", ["python", "python3", "python3.11", "pythonw"])
def test_script_in_the_place_of_the_interpreter_is_told(tmp_path, name):
    wheel = make_wheel(tmp_path, scripts=f"{name} = hello:other")

    assert list(replacing(described(wheel))) == [
        f"expected no script called {name}, got one of Shop 1.0"
    ]


def test_other_scripts_are_left_alone(tmp_path):
    wheel = make_wheel(tmp_path, scripts="python-shop = shop:main\n[other]\npython = shop:main")

    assert list(replacing(described(wheel))) == []
