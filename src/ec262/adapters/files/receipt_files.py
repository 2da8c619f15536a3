"""Receipts as files: JSON for programs, and a page for people that needs nothing else."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path

import msgspec

from ec262.adapters.files.whole_file import WholeFile
from ec262.domain.errors import ConfigurationError
from ec262.domain.foreman.receipts import DECIDED, JobReceipt, TaskReceipt, check_ranges
from ec262.domain.protocol.foreman_calls import Vote
from ec262.domain.terminal import printable
from ec262.domain.verification.rules import parse_rule

MAX_BYTES = 1 << 30
"""The largest file of receipts that is read."""

_SHOWN = 8
"""Characters of ids and digests that the page shows; the rest is in the tooltip and in the JSON."""

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222 }
dl { display: grid; grid-template-columns: max-content auto; gap: .2rem 1.5rem }
dt { color: #666 } dd { margin: 0 }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #ddd; vertical-align: top }
code { font-size: 13px } .lost { color: #999 } .other { color: #b00020 }
"""


def check_report_path(path: Path) -> None:
    """Raise ConfigurationError unless a report can be written there: before any work is done for it."""
    if path.suffix not in {".html", ".json"}:
        raise ConfigurationError(f"a report is called NAME.html or NAME.json, not {path}")
    try:
        folder = Path(os.path.realpath(path)).parent
        usable = folder.is_dir() and os.access(folder, os.W_OK) and not path.is_dir()
    except OSError as error:
        raise ConfigurationError(f"cannot write the report {path}: {error}") from error
    if not usable:
        raise ConfigurationError(f"cannot write the report {path}: there is no folder {folder} that can be written to")


def write_report(receipt: JobReceipt, path: Path) -> tuple[Path, ...]:
    """Write a receipt as JSON; for a name that ends in ``.html``, the page, and the JSON beside it. Return the paths.
    Raises ConfigurationError."""
    data = path.with_suffix(".json")
    contents = {data: msgspec.json.format(msgspec.json.encode(receipt), indent=1)}
    if path.suffix == ".html":
        contents = {path: _page(receipt, data.name).encode(), **contents}
    for target, content in contents.items():
        _write_whole(target, content)
    return tuple(contents)


def read_report(path: Path) -> JobReceipt:
    """Read the JSON of a receipt, which may be anybody's. Raises ConfigurationError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigurationError(f"{path} is not a report: it is too large")
        receipt = msgspec.json.decode(path.read_bytes(), type=JobReceipt)
        check_ranges(receipt)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror or error}") from error
    except RecursionError:
        raise ConfigurationError(f"{path} is not a report in JSON: it is nested too deeply") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigurationError(f"{path} is not a report in JSON: {printable(str(error))}") from error
    return receipt


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears under its name when it is whole."""
    try:
        with WholeFile(path) as whole:
            whole.file.write(content)
            whole.publish()
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror or error}") from error


# --- the page -------------------------------------------------------------------------------------------------------


def _page(receipt: JobReceipt, data: str) -> str:
    rows = "\n".join(_row(task, local=receipt.local) for task in receipt.tasks)
    credits = "" if receipt.local else "<th>credits"
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>ec262: receipt of a job</title>
<style>{_STYLE}</style>
<h1>Receipt of a job</h1>
<dl>{_facts(receipt)}</dl>
<p>Each verdict follows from the votes beside it, in their order, by the rule beside it. In brackets, where the rule
asks for it: in how many tasks the worker had been right before, as far as that counts. Check all that again:
<code>python -m ec262.entrypoints.recheck {escape(data)}</code></p>
<table>
<thead>
<tr><th>task<th>rule<th>verdict<th>confidence<th>workers that committed the result<th>others{credits}</tr>
</thead>
<tbody>
{rows}
</tbody>
</table>
</html>
"""


def _facts(receipt: JobReceipt) -> str:
    facts = [("rule", receipt.verify), ("seed", str(receipt.seed)), *summary_lines(receipt)]
    return "".join(f"<dt>{escape(name)}<dd>{escape(value)}" for name, value in facts)


def summary_lines(receipt: JobReceipt) -> list[tuple[str, str]]:
    """Return a summary in words: what, and how much."""
    summary = receipt.summary
    credits = ("credits", f"{summary.paid:,} paid to workers, {_refunds(summary.returned)}")
    return [
        ("tasks", f"{summary.tasks:,}"),
        ("executions", f"{summary.executions:,}, {summary.executions_per_task:.2f} a task"),
        ("expected error", f"{summary.expected_error:.2g} a task"),
        *(() if receipt.local else (credits,)),
        ("audited tasks", f"{summary.audited:,}"),
        ("commitments that lost", f"{summary.dissenting:,}"),
    ]


def _refunds(credits: int) -> str:
    """Discovery keeps a part of some shares, and which ones it does not tell."""
    return f"up to {credits:,} refunded" if credits else "0 refunded"


def _row(task: TaskReceipt, *, local: bool) -> str:
    supporters = " ".join(_voter(vote, task) for vote in task.votes if vote.digest == task.digest)
    others = " ".join(
        f'<span class="other">{_voter(vote, task)}: {_short(vote.digest.hex())}</span>'
        for vote in task.votes
        if vote.digest != task.digest
    )
    verdict = f"{task.state.value} {_short(task.digest.hex()) if task.digest else ''}{' (audited)' * task.audited}"
    confidence = f"{task.confidence:.6f}" if task.state in DECIDED else ""
    credits = f"<td>{task.paid} paid" + (f", {_refunds(task.returned)}" if task.returned else "")
    lost = "" if task.state in DECIDED else ' class="lost"'
    return (
        f"<tr{lost}><td>{escape(task.name)}<td>{escape(task.rule)}<td>{verdict}<td>{confidence}"
        f"<td>{supporters}<td>{others}{'' if local else credits}</tr>"
    )


def _voter(vote: Vote, task: TaskReceipt) -> str:
    """Name a worker, and what its word was worth then where that matters to the rule."""
    known = f" <small>({vote.agreed:.1f})</small>" if parse_rule(task.rule).weighs_trust else ""
    return _short(vote.worker) + known


def _short(name: str) -> str:
    return f'<code title="{escape(name)}">{escape(name[:_SHOWN])}</code>'
