import re
from pathlib import Path

import attrs
import msgspec
import pytest

from ec262.adapters.files.receipt_files import check_report_path, read_report, write_report
from ec262.domain.errors import ConfigurationError
from ec262.domain.foreman.receipts import JobReceipt, TaskReceipt
from ec262.domain.protocol.foreman_calls import Vote
from ec262.domain.verification.task_state import TaskState
from ec262.entrypoints.recheck import main
from tests.full_disk import files_up_to

RIGHT, WRONG = b"r" * 32, b"w" * 32

RECEIPT = JobReceipt(
    verify="majority:3",
    seed=7,
    tasks=(
        TaskReceipt(
            name="map task 1",
            task="task-0001",
            rule="majority:3:2",
            replicas=3,
            state=TaskState.WON,
            confidence=0.94,
            digest=RIGHT,
            votes=tuple(
                Vote(worker=worker, digest=digest, agreed=0.0, recent=0.0)
                for worker, digest in [("worker-a", RIGHT), ("worker-<b>", WRONG), ("worker-c", RIGHT)]
            ),
        ),
        TaskReceipt(name="map task 2", task="task-0002", rule="majority:3:2", replicas=3, state=TaskState.REFUNDED),
    ),
)


def test_a_page_has_its_json_beside_it(tmp_path: Path) -> None:
    assert write_report(RECEIPT, tmp_path / "out.html") == (tmp_path / "out.html", tmp_path / "out.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.html", "out.json"]
    assert read_report(tmp_path / "out.json") == RECEIPT
    page = (tmp_path / "out.html").read_text()
    assert "6, 6.00 a task" in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "recheck out.json" in page


@pytest.mark.parametrize("local", [False, True])
def test_a_local_jobs_receipt_does_not_mention_credits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, local: bool
) -> None:
    write_report(attrs.evolve(RECEIPT, local=local), tmp_path / "out.html")
    assert ("credits" in (tmp_path / "out.html").read_text()) is not local
    assert ("2 paid" in (tmp_path / "out.html").read_text()) is not local
    assert main([str(tmp_path / "out.json")]) == 0
    assert ("credits" in capsys.readouterr().out) is not local


def test_a_page_shows_a_workers_credibility_if_the_rule_uses_it(tmp_path: Path) -> None:
    votes = (Vote(worker="worker-a", digest=RIGHT, agreed=34.25, recent=34.25),)
    weighed = attrs.evolve(RECEIPT.tasks[0], rule="error:1e-05", votes=votes)
    for task, told in [(weighed, True), (attrs.evolve(weighed, rule="quorum:1"), False)]:
        write_report(attrs.evolve(RECEIPT, tasks=(task,)), tmp_path / "out.html")
        assert ("<small>(34.2)</small>" in (tmp_path / "out.html").read_text()) is told


def test_json_alone(tmp_path: Path) -> None:
    write_report(RECEIPT, tmp_path / "out.json")
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize("name", ["report", "report.txt", "nowhere/report.html", "taken.json"])
def test_where_no_report_can_be_written_is_said_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "taken.json").mkdir()
    with pytest.raises(ConfigurationError, match="report"):
        check_report_path(tmp_path / name)
    check_report_path(tmp_path / "out.html")


def test_a_full_disk_leaves_no_half_report(tmp_path: Path) -> None:
    with files_up_to(100), pytest.raises(ConfigurationError, match="File too large"):
        write_report(RECEIPT, tmp_path / "out.json")
    assert list(tmp_path.iterdir()) == []


def test_recheck_says_that_all_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_report(RECEIPT, tmp_path / "out.json")
    assert main([str(tmp_path / "out.json")]) == 0
    assert "1 verdicts rechecked, 0 do not follow" in capsys.readouterr().out


def test_recheck_finds_a_forged_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_report(RECEIPT, tmp_path / "out.json")
    forged = (tmp_path / "out.json").read_text().replace('"rule": "majority:3:2"', '"rule": "quorum:3"')
    (tmp_path / "out.json").write_text(forged)
    assert main([str(tmp_path / "out.json")]) == 1
    assert "map task 1: decided by quorum:3, but majority:3:2 was requested" in capsys.readouterr().out


def test_recheck_goes_by_the_rule_that_was_requested(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever writes a report can state a weaker rule in all of it."""
    text = msgspec.json.encode(RECEIPT).decode().replace("majority:3:2", "quorum:1").replace("majority:3", "quorum:1")
    (tmp_path / "out.json").write_text(text)
    assert main([str(tmp_path / "out.json")]) == 0
    assert "requested rule, according to the report: quorum:1" in capsys.readouterr().out
    assert main([str(tmp_path / "out.json"), "--verify", "majority:3"]) == 1
    assert "decided by quorum:1, but majority:3:2 was requested" in capsys.readouterr().out


@pytest.mark.parametrize("number", ["-1", "-1e300", "1e300", "-50.5"])
@pytest.mark.parametrize("field", ["agreed", "recent", "replicas", "confidence"])
def test_recheck_refuses_numbers_that_no_job_can_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], field: str, number: str
) -> None:
    rule = RECEIPT.tasks[0].rule
    text = msgspec.json.encode(RECEIPT).decode().replace(rule, "error:1e-05")
    (tmp_path / "out.json").write_text(re.sub(rf'"{field}":[0-9.]+', f'"{field}":{number}', text))
    assert main([str(tmp_path / "out.json")]) == 2
    assert "out.json" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["majority:3", "map task 1", "task-0001", "worker-a"])
def test_recheck_refuses_texts_that_no_job_can_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "out.json").write_text(msgspec.json.encode(RECEIPT).decode().replace(f'"{text}', '"' + "x" * 1_000_000))
    assert main([str(tmp_path / "out.json")]) == 2
    assert len(capsys.readouterr().err) < 300 + len(str(tmp_path))


def test_recheck_refuses_an_invalid_digest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = attrs.evolve(RECEIPT, tasks=(attrs.evolve(RECEIPT.tasks[0], digest=b"r"),))
    (tmp_path / "out.json").write_bytes(msgspec.json.encode(short))
    assert main([str(tmp_path / "out.json")]) == 2
    assert "a digest has 32 bytes, not 1" in capsys.readouterr().err


def test_recheck_refuses_more_votes_than_a_task_can_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    votes = tuple(Vote(worker=f"w{number}", digest=RIGHT, agreed=0, recent=0) for number in range(32))
    stuffed = attrs.evolve(RECEIPT, tasks=(attrs.evolve(RECEIPT.tasks[0], votes=votes),))
    (tmp_path / "out.json").write_bytes(msgspec.json.encode(stuffed))
    assert main([str(tmp_path / "out.json")]) == 2
    assert "votes must be from 0 to 3, not 32" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[1, 2",
        '{"x": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"verify": "x", "seed": 0, "tasks": [{"name": 1}]}',
    ],
)
def test_a_file_that_is_not_a_report_is_reported_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (tmp_path / "out.json").write_text(content)
    assert main([str(tmp_path / "out.json")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_report_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "out.json")]) == 2
    assert "No such file" in capsys.readouterr().err
