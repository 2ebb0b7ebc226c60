import io
import json
import os
import subprocess
import sys
import tarfile

import pytest
from pylonyard.commands import bundle, checkout_files
from pylonyard.commands.bundle import Member
from pylonyard.config import configuration
from pylonyard.packages.interpreters import describe, interpreter
from pylonyard.packages.lock import pylock
from pylonyard.packages.lock.files import Target
from pylonyard.packages.wheels import sha256
from pylonyard.system.errors import UserError
from support import make_wheel

LOCK = "profiles/pylock.toml"


@pytest.fixture
def sandbox(tmp_path):
    """Return a sandbox whose last run installed one wheel, as its lock has it."""
    directory = tmp_path / "checkout"
    for name in ("profiles", "var/secrets", "cache/dist", "src", "bin"):
        (directory / name).mkdir(parents=True)
    texts = {
        "bootstrap.py": "",
        "buildout.cfg": "[buildout]\n",
        "src/shop.py": "pass\n",
        "var/secrets/password": "secret",
        "bin/buildout": "made",
        "profiles/tools.txt": "# none\n",
        ".installed.cfg": "[buildout]\nparts = app\n\n[app]\nrecipe = pylonyard:pylons_app\n"
        f"name = shop\nlock = {LOCK}\nwithout-setup-requires = cart\n",
    }
    for name, text in texts.items():
        (directory / name).write_text(text)
    (directory / "src" / "run").symlink_to("shop.py")
    lock(directory, make_wheel(directory / "cache" / "dist"))
    return directory


def lock(directory, *wheels):
    packages = [
        pylock.Locked(name="shop", version="1.0", wheels={wheel.name: sha256(wheel)})
        for wheel in wheels
    ]
    (directory / LOCK).write_text(pylock.text(packages, "../cache/dist"))


def bundled(directory, file):
    lines = []
    bundle.command(directory, file, lines.append)
    with tarfile.open(file) as archive:
        return lines, {member.name: member for member in archive}


@pytest.mark.system
def test_bundle_holds_the_checkout_and_what_the_lock_names(sandbox, tmp_path):
    (sandbox / "cache" / "dist" / "Other-1.0-py3-none-any.whl").touch()

    output, members = bundled(sandbox, tmp_path / "shop.tar.gz")

    assert list(members) == [
        "shop/bootstrap.py",
        "shop/buildout.cfg",
        "shop/cache/dist/Shop-1.0-py3-none-any.whl",
        "shop/profiles/pylock.toml",
        "shop/profiles/tools.txt",
        "shop/src/run",
        "shop/src/shop.py",
    ]
    assert members["shop/src/run"].linkname == "shop.py"
    assert output[0].startswith(
        f"{tmp_path}/shop.tar.gz holds 6 files of the checkout, and 1 of the cache that {LOCK} "
        "names, "
    )
    assert (
        output[1] == "Elsewhere: tar -xf shop.tar.gz && cd shop && python3 bootstrap.py --offline"
    )


def test_unpacked_bundle_uses_the_configuration_of_the_last_run(sandbox, tmp_path):
    (sandbox / "production.cfg").touch()
    release = sandbox / "releases" / "1"
    release.mkdir(parents=True)
    (release / "manifest.json").write_text('{"configuration": "production.cfg"}')
    (sandbox / "current").symlink_to("releases/1")

    bundle.command(sandbox, tmp_path / "shop.tar.gz", print)

    with tarfile.open(tmp_path / "shop.tar.gz") as archive:
        memory = archive.extractfile(f"shop/{configuration.MEMORY}").read()
    assert memory == configuration.text("production.cfg").encode()


def test_of_a_git_checkout_it_holds_what_is_tracked(sandbox, tmp_path):
    git = ["git", "-c", "user.name=n", "-c", "user.email=e", "-C", str(sandbox)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "bootstrap.py", "src", "var", "buildout.cfg"], check=True)
    (sandbox / "buildout.cfg").unlink()

    names = checkout_files.list_files(sandbox, [sandbox / LOCK], [])

    assert names == ["bootstrap.py", LOCK, "src/run", "src/shop.py"]


def test_same_members_give_the_same_bytes_whatever_their_order():
    members = [Member("b", b"2", 0o755), Member("a", b"1"), Member("c", "b", 0o777)]
    first, second = io.BytesIO(), io.BytesIO()

    bundle.write(first, members)
    bundle.write(second, reversed(members))

    assert first.getvalue() == second.getvalue()
    with tarfile.open(fileobj=io.BytesIO(first.getvalue())) as archive:
        described = [(m.name, m.mode, m.uid, m.gid, m.uname, m.gname, m.mtime) for m in archive]
    assert described == [
        ("a", 0o644, 0, 0, "", "", bundle.MEMBER_TIME),
        ("b", 0o755, 0, 0, "", "", bundle.MEMBER_TIME),
        ("c", 0o777, 0, 0, "", "", bundle.MEMBER_TIME),
    ]


@pytest.mark.system
def test_bundle_does_not_depend_on_modes_times_or_place(sandbox, tmp_path):
    bundled(sandbox, tmp_path / "one.tar.gz")
    for path in [sandbox, *sandbox.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o700 if path.is_dir() else 0o600)
            os.utime(path, (1, 1))
    moved = sandbox.rename(tmp_path / "moved")

    bundled(moved, moved / "two.tar.gz")

    assert sha256(tmp_path / "one.tar.gz") == sha256(moved / "two.tar.gz")


def refused(directory, file):
    with pytest.raises(UserError) as caught:
        bundle.command(directory, file, print)
    assert not list(file.parent.glob(".*.tar.gz*")), "a draft is left"
    return str(caught.value)


def test_file_that_is_there_is_kept(sandbox, tmp_path):
    file = tmp_path / "shop.tar.gz"
    file.write_text("mine")

    assert refused(sandbox, file) == (
        f"{file}: expected no such file yet, got one; name another, or move it elsewhere"
    )
    assert file.read_text() == "mine"


def test_other_name_is_refused(sandbox, tmp_path):
    file = tmp_path / "shop.zip"

    assert refused(sandbox, file) == (
        f"{file}: expected a name that ends in .tar.gz, got 'shop.zip'"
    )


@pytest.mark.system
def test_place_that_cannot_be_written_is_named(sandbox, tmp_path):
    file = tmp_path / "none" / "shop.tar.gz"

    with pytest.raises(FileNotFoundError) as caught:
        bundle.command(sandbox, file, print)

    assert caught.value.filename == str(file)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lock =", "make one: bin/pylonyard lock, name it in [app] as lock = profiles/pylock.toml"),
        ("lock = other.toml", "make one: bin/pylonyard lock --file other.toml"),
    ],
)
def test_without_a_lock_the_command_is_reported(sandbox, tmp_path, line, message):
    record = sandbox / ".installed.cfg"
    record.write_text(record.read_text().replace(f"lock = {LOCK}", line))

    assert refused(sandbox, tmp_path / "shop.tar.gz") == (
        f"[app] lock: expected a lock, got none; {message}, and run bin/buildout again"
    )


def test_without_a_run_there_is_nothing_to_bundle(sandbox, tmp_path):
    (sandbox / ".installed.cfg").unlink()

    output = refused(sandbox, tmp_path / "shop.tar.gz")

    assert output.startswith(
        f"{sandbox}: expected a sandbox in which bin/buildout has run, got none"
    )


@pytest.mark.system
def test_every_file_that_is_missing_is_named_with_the_command(sandbox, tmp_path):
    (sandbox / "cache" / "dist" / "Shop-1.0-py3-none-any.whl").unlink()
    (sandbox / "profiles" / "tools.txt").write_text("hammer==2.0 --hash=sha256:00\n")

    assert refused(sandbox, tmp_path / "shop.tar.gz") == (
        f"not in the cache {sandbox}/cache/dist: Shop-1.0-py3-none-any.whl, hammer==2.0; fetch "
        "what is missing where there is a network with: python3 bootstrap.py fetch "
        f"--lock {LOCK} Shop-1.0-py3-none-any.whl hammer==2.0"
    )


@pytest.mark.system
def test_file_that_is_not_the_locked_one_is_named(sandbox, tmp_path):
    wheel = sandbox / "cache" / "dist" / "Shop-1.0-py3-none-any.whl"
    wheel.write_bytes(b"other")

    assert refused(sandbox, tmp_path / "shop.tar.gz") == (
        f"expected files as the lock has them, got others: {wheel} has SHA-256 {sha256(wheel)}; "
        "move them elsewhere, and run this again"
    )


@pytest.mark.system
def test_file_for_its_owner_alone_is_refused(sandbox, tmp_path):
    (sandbox / "password").write_text("secret")
    (sandbox / "password").chmod(0o600)

    output = refused(sandbox, tmp_path / "shop.tar.gz")

    assert output.startswith("password: expected files that others may read, since nothing secret")


@pytest.mark.system
def test_configuration_with_a_password_in_an_address_is_refused(sandbox, tmp_path):
    lines = ["[buildout]", "index = http://${ci:name}:${ci:word}@h/", "# http://ci:S3cr3t@h/"]
    (sandbox / "buildout.cfg").write_text("\n".join([*lines, "index = https://ci:S3cr3t@h/", ""]))

    assert refused(sandbox, tmp_path / "shop.tar.gz") == (
        "buildout.cfg, line 3; buildout.cfg, line 4: expected an address without its password, "
        "since nothing secret goes into a bundle; write that into ~/.netrc, with mode 0600"
    )


@pytest.mark.system
@pytest.mark.parametrize(("mode", "missing"), [("proxy", ""), ("mod_wsgi", "mod_wsgi-6.1.1")])
def test_source_of_mod_wsgi_is_needed_where_that_serves_the_site(sandbox, mode, missing):
    record = sandbox / ".installed.cfg"
    part = f"\n[wsgi]\nrecipe = pylonyard:mod_wsgi_build\nmode = {mode}\n"
    record.write_text(record.read_text().replace("= app\n", "= app wsgi\n") + part)
    with (sandbox / LOCK).open("a") as stream:
        stream.write(
            '[[packages]]\nname = "mod-wsgi"\nversion = "6.1.1"\n'
            'sdist = {path = "../cache/dist/mod_wsgi-6.1.1.tar.gz", hashes = {sha256 = "00"}}\n'
        )

    if missing:
        assert f"cache/dist: {missing}.tar.gz;" in refused(sandbox, sandbox.parent / "a.tar.gz")
    else:
        assert bundled(sandbox, sandbox.parent / "a.tar.gz")[0]


@pytest.fixture
def tracked(sandbox):
    """Have git track the sandbox; return what tracks more of it."""
    git = ["git", "-c", "user.name=n", "-c", "user.email=e", "-C", str(sandbox)]
    subprocess.run([*git, "init", "-q"], check=True)

    def add(*names):
        subprocess.run([*git, "add", *names], check=True)

    add("bootstrap.py", "buildout.cfg")
    (sandbox / ".gitignore").write_text("*.log\n__pycache__\n")
    return add


READ = """
sources = tree
template = shop.ini
url = nothing/there
"""


def test_file_that_the_last_run_read_is_refused_unless_git_tracks_it(sandbox, tmp_path, tracked):
    texts = ["tree/setup.py", "tree/a.py", "tree/a.log", "shop.ini", "notes", "more.cfg"]
    for name in (*texts, "env/pyvenv.cfg", "env/lib.py", "tree/__pycache__/a.pyc"):
        (sandbox / name).parent.mkdir(parents=True, exist_ok=True)
        (sandbox / name).write_text("")
    with (sandbox / ".installed.cfg").open("a") as stream:
        stream.write(READ)
    memory = sandbox / ".pylonyard" / "settled.json"
    memory.parent.mkdir()
    read = ["more.cfg", "env/lib.py", "tree/__pycache__/a.pyc", ".installed.cfg", "src"]
    memory.write_text(json.dumps({"paths": ["/etc/passwd", *(str(sandbox / n) for n in read)]}))

    assert refused(sandbox, tmp_path / "shop.tar.gz") == (
        "more.cfg, shop.ini, tree/a.py, tree/setup.py: the last run read this, and git does not "
        "track it, so that the bundle would lack it: git add more.cfg shop.ini tree"
    )

    tracked("more.cfg", "shop.ini", "tree")

    assert bundled(sandbox, tmp_path / "shop.tar.gz")[0]


@pytest.mark.system
def test_source_is_taken_as_well_where_it_is_built(tmp_path):
    package = pylock.Locked(
        name="cart",
        version="1.0",
        wheels={"Cart-1.0-py3-none-any.whl": "1"},
        sdist=("Cart-1.0.tar.gz", "2"),
    )
    own = describe(interpreter())
    of_lock = pylock.Lock(tmp_path, (package,))

    assert [name for _, name in Target.of(own).files(of_lock)] == ["Cart-1.0-py3-none-any.whl"]
    assert [name for _, name in Target.of(own, ["Cart"]).files(of_lock)] == [
        "Cart-1.0-py3-none-any.whl",
        "Cart-1.0.tar.gz",
    ]


def test_lock_of_elsewhere_is_refused(sandbox, tmp_path):
    (sandbox / LOCK).rename(tmp_path / "pylock.toml")
    record = sandbox / ".installed.cfg"
    record.write_text(record.read_text().replace(LOCK, "../pylock.toml"))

    with pytest.raises(UserError, match=r"\[app\] lock: expected a file of the checkout, got"):
        bundle.bundled_applications(sandbox, bundle.recorded(sandbox))


MEASURED = """
import resource, sys
from pathlib import Path
{code}
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(code, *words):
    """Return the most memory, in kB, of a process that runs ``code``."""
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", MEASURED.format(code=code), *map(str, words)]
    return int(subprocess.check_output(command, env={**os.environ, **path}))


PACK = """
from pylonyard.commands import bundle
with open(sys.argv[1], "wb") as stream:
    bundle.write(stream, [bundle.Member("a", Path(path)) for path in sys.argv[2:]])
"""


def test_large_file_is_packed_in_little_memory(tmp_path):
    large = tmp_path / "large"
    with large.open("wb") as stream:
        stream.truncate(40_000_000)
    small = peak(PACK, tmp_path / "small.tar.gz")

    more = peak(PACK, tmp_path / "large.tar.gz", large) - small

    assert more < 20_000
    with tarfile.open(tmp_path / "large.tar.gz") as packed:
        assert packed.getmember("a").size == 40_000_000


def test_file_that_changes_after_it_was_verified_is_not_packed(tmp_path):
    file = tmp_path / "file"
    file.write_text("another text")

    with pytest.raises(UserError) as caught:
        bundle.write(io.BytesIO(), [Member("a", file, digests={"0" * 64})])

    assert str(caught.value) == (
        f"{file}: expected it to stay as it is, but it was changed; run this again"
    )
