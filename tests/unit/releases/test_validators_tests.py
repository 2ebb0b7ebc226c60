import json
import os
import subprocess
import sys

import pytest
from pylonyard.releases import validators as runner
from pylonyard.system.errors import PylonyardError

SHOW = "import os, sys; print(sys.argv[1:], os.environ.get('PYTHONPATH')); sys.exit(3)"


def written(folder, **changed):
    """Write tests.json; return its path."""
    values = {
        "version": 1,
        "user": "",
        "command": [sys.executable, "-c", SHOW],
        "found": ["discover", "shop"],
        "words": ["-v"],
        "directory": "",
    }
    path = folder / "tests.json"
    path.write_text(json.dumps({**values, **changed}))
    return path


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ([], ["discover", "shop", "-v"]),
        (["-k", "name"], ["discover", "shop", "-v", "-k", "name"]),
        (["shop.tests", "-x"], ["-v", "shop.tests", "-x"]),
    ],
)
def test_words_of_the_command_line_go_to_the_runner(tmp_path, monkeypatch, words, given):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    found = runner.load_tests(written(tmp_path))

    ended = runner.start_tests(found, words, stdout=subprocess.PIPE)

    assert (ended.stdout, ended.returncode) == (f"{given} None\n", 3)


def test_the_exit_status_is_the_runner_s(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bin/shop-test"])

    assert runner.tests_main(str(written(tmp_path))) == 3
    assert runner.tests_main(str(written(tmp_path, command=["/bin/sh", "-c", "kill -9 $$"]))) == 137


def test_what_runs_without_a_tree_leaves_nothing_behind(tmp_path):
    code = "import os; open('left', 'w'); print(os.getcwd())"
    path = written(tmp_path, command=[sys.executable, "-c", code])

    printed = runner.start_tests(runner.load_tests(path), stdout=subprocess.PIPE).stdout

    assert not os.path.exists(printed.strip())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs them as another account")
def test_root_runs_them_as_the_account_of_the_site(tmp_path):
    code = "import os; open('mine', 'w'); print(os.geteuid() > 0, os.environ['USER'])"
    path = written(tmp_path, user="nobody", command=["/usr/bin/python3", "-c", code])

    assert (
        runner.start_tests(runner.load_tests(path), stdout=subprocess.PIPE).stdout
        == "True nobody\n"
    )
    with pytest.raises(PylonyardError, match="account nowhere: it is missing"):
        runner.start_tests(runner.load_tests(written(tmp_path, user="nowhere")))


@pytest.mark.parametrize("text", ["{}", "[", '{"version": 1, "user": ""}'])
def test_a_damaged_description_is_one_line(tmp_path, monkeypatch, capsys, text):
    (tmp_path / "tests.json").write_text(text)
    monkeypatch.setattr(sys, "argv", ["bin/shop-test"])

    assert runner.tests_main(str(tmp_path / "tests.json")) != 0
    output = capsys.readouterr().err
    assert output.startswith("shop-test: ")
    assert output.count("\n") == 1


NONE = ["/bin/sh", "-c", "echo; echo 'Ran 0 tests in 0.1s'; echo OK"]
FAILS = ["/bin/sh", "-c", "echo first; echo last; exit 4"]


@pytest.mark.parametrize(
    ("command", "output", "printed"),
    [
        (["/bin/true"], "", []),
        (NONE, "no test was found; what is live stays: OK", ["\nRan 0 tests in 0.1s\nOK"]),
        (FAILS, "exit status 4; what is live stays: last", ["first\nlast"]),
        (["/nowhere"], "[Errno 2] No such file or directory: '/nowhere'", []),
    ],
)
def test_a_draft_passes_only_if_its_tests_do(tmp_path, caplog, command, output, printed):
    (tmp_path / "shop").mkdir()
    written(tmp_path / "shop", command=command, found=[], words=[])
    draft = runner.Draft(tmp_path, tmp_path)

    try:
        runner.run_tests(draft, "shop/tests-required")
        assert output == ""
    except PylonyardError as error:
        assert str(error) == f"shop/tests-required: {output}"
    assert [message.partition("\n")[2] for message in caplog.messages] == printed


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs them as another account")
def test_a_draft_of_an_account_that_is_missing_is_refused(tmp_path):
    (tmp_path / "shop").mkdir()
    written(tmp_path / "shop", user="nowhere")

    with pytest.raises(PylonyardError) as caught:
        runner.run_tests(runner.Draft(tmp_path, tmp_path), "shop/tests-required")

    assert str(caught.value) == (
        "shop/tests-required: account nowhere: it is missing; make it first: "
        "root runs the tests as the account of the site"
    )
