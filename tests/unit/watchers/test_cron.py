import pytest
from pylonyard.watchers.cron import main, with_block, without_block

BLOCK = "# BEGIN pylonyard shop\n@daily /srv/bin/shop ensure\n# END pylonyard shop\n"
OTHERS = "MAILTO=me\n@daily mine\n"


def test_block_comes_last_and_what_is_around_it_stays():
    assert with_block(OTHERS, "shop", "@daily /srv/bin/shop ensure\n") == OTHERS + BLOCK


def test_block_is_replaced_not_doubled():
    text = with_block(OTHERS + BLOCK + "@hourly more", "shop", "@daily /srv/bin/shop ensure")

    assert text == f"{OTHERS}@hourly more\n{BLOCK}"


def test_block_of_another_site_is_left_alone():
    other = BLOCK.replace("shop", "blog")

    assert with_block(other, "shop", "@daily /srv/bin/shop ensure") == other + BLOCK
    assert without_block(other, "shop") == other


@pytest.mark.parametrize("text", ["", OTHERS])
def test_removed_block_leaves_what_was_before(text):
    assert without_block(text + BLOCK, "shop") == text
    assert without_block(text, "shop") == text


@pytest.mark.parametrize(
    "text",
    [
        "# BEGIN pylonyard shop\n@daily x\n",
        "# END pylonyard shop\n",
        "# END pylonyard shop\n# BEGIN pylonyard shop\n",
        BLOCK + BLOCK,
    ],
)
def test_block_that_somebody_broke_is_left_to_them(text):
    with pytest.raises(ValueError) as caught:
        without_block(text, "shop")

    assert str(caught.value) == (
        "expected one line '# BEGIN pylonyard shop' and one '# END pylonyard shop' after it "
        "in the crontab; correct it with: crontab -e"
    )


@pytest.fixture
def block(tmp_path):
    path = tmp_path / "block"
    path.write_text("@daily /srv/bin/shop ensure\n")
    return str(path)


def test_command_installs_and_removes_the_block(crontab, block):
    crontab.write_text(OTHERS)

    assert main("shop", block, ["install"]) == 0
    assert main("shop", block, ["install"]) == 0
    assert crontab.read_text() == OTHERS + BLOCK

    assert main("shop", block, ["remove"]) == 0
    assert crontab.read_text() == OTHERS


def test_bytes_that_are_no_text_stay_as_they_are(crontab, block):
    crontab.write_bytes(b"# J\xfcrgen\n")

    assert main("shop", block, ["install"]) == 0
    assert crontab.read_bytes().startswith(b"# J\xfcrgen\n# BEGIN ")


def test_crontab_that_gets_empty_is_removed(crontab, block):
    assert main("shop", block, ["install"]) == 0
    assert crontab.read_text() == BLOCK

    assert main("shop", block, ["remove"]) == 0
    assert not crontab.exists()


def test_block_is_shown_without_a_crontab(block, capsys):
    assert main("shop", block, ["show"]) == 0
    assert capsys.readouterr().out == BLOCK


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "shop-cron: expected ACTION; see shop-cron --help\n"),
        (
            ["instal"],
            "shop-cron: unknown action instal; did you mean install? See shop-cron --help\n",
        ),
        (["install", "now"], "shop-cron: unknown argument now; see shop-cron install --help\n"),
    ],
)
def test_other_words_are_named(words, line, block, capsys):
    assert main("shop", block, words) == 2
    assert capsys.readouterr() == ("", line)


def test_words_are_those_of_the_command_line(block, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["bin/shop-cron", "show"])

    assert main("shop", block) == 0
    assert capsys.readouterr().out == BLOCK


def test_missing_block_is_one_line(crontab, tmp_path, capsys):
    assert main("shop", str(tmp_path / "nowhere"), ["install"]) == 1
    assert capsys.readouterr().err == (
        f"shop-cron: [Errno 2] No such file or directory: '{tmp_path}/nowhere'\n"
    )


@pytest.mark.parametrize(
    ("program", "line"),
    [
        ("#!/bin/sh\necho 'you may not use cron' >&2; exit 1\n", "you may not use cron"),
        ("#!/bin/sh\nexit 1\n", "crontab -l failed"),
        ('#!/bin/sh\ntest "$1" = -l && exit 0; echo "bad minute" >&2; exit 1\n', "bad minute"),
        (
            '#!/bin/sh\ntest "$1" = -l && exit 0; exit 1\n',
            "crontab refused the new text",
        ),
    ],
)
def test_refusal_of_crontab_is_reported(crontab, block, capsys, program, line):
    (crontab.parent / "programs" / "crontab").write_text(program)

    assert main("shop", block, ["install"]) == 1
    assert capsys.readouterr().err == f"shop-cron: {line}\n"
