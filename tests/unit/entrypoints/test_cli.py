"""One command with subcommands: each leads to its module."""

from __future__ import annotations

import pytest

from ec262.entrypoints import cli


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_subcommand_is_there_and_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: ec262 {command}" in capsys.readouterr().out


def test_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(f"\n  {command} " in told for command in cli.COMMANDS)
    assert cli.main(["steal"]) == 2
    assert capsys.readouterr().err == f"ec262: unknown command steal\n{told}"
