"""Between foremen and workers, as trust.md has it: dispatch, delivery, and what counts as a result."""

from __future__ import annotations

from tests.mutation.mutant import Mutant

TLS = "src/ec262/adapters/tcp/tls.py"
BOOK = "src/ec262/services/worker/task_book.py"
COMPUTER = "src/ec262/services/worker/computer.py"
SESSION = "src/ec262/services/worker/worker_session.py"
CIPHERS = "src/ec262/adapters/ciphers/aes_siv.py"
RESULTS = "src/ec262/adapters/memory/result_store.py"
DELIVERIES = "src/ec262/services/foreman/workers/deliveries.py"
CREDENTIALS = "src/ec262/adapters/files/credentials.py"
OUTCOME = "src/ec262/domain/work/outcome.py"
PAIRS = "src/ec262/domain/values/pairs.py"
PLAIN_PAIRS = "src/ec262/domain/values/plain_pairs.py"

OF_BOOK = "tests/unit/services/worker/test_task_book.py"
OF_SESSION = "tests/unit/services/worker/test_worker_session.py"
OF_COMPUTER = "tests/unit/services/worker/test_computer.py"
OF_FOREMAN = "tests/unit/services/foreman/test_foreman.py"
OF_CIPHERS = "tests/contract/test_cipher_contract.py"
OF_RESULTS = "tests/contract/test_result_store_contract.py"
OF_TRANSPORT = "tests/contract/test_transport_contract.py"
OF_CREDENTIALS = "tests/unit/adapters/files/test_credentials.py"
OF_OUTCOME = "tests/unit/domain/work/test_outcome.py"
OF_PLAIN_PAIRS = "tests/property/test_plain_pairs.py"

MUTANTS = (
    Mutant(
        rule="the worker's certificate is pinned by the fingerprint that it registered",
        file=TLS,
        old="    return der is not None and hmac.compare_digest(fingerprint_of(der), fingerprint)",
        new="    return der is not None",
        tests=f"{OF_TRANSPORT}::test_only_the_pinned_certificate_will_do",
    ),
    Mutant(
        rule="the assignment secret is the proof of assignment",
        file=BOOK,
        old="        if not hmac.compare_digest(message.secret, replica.assignment.secret):",
        new="        if False:",
        tests=f"{OF_BOOK}::test_a_stranger_learns_nothing",
    ),
    Mutant(
        rule="a worker serves nobody without an assignment",
        file=SESSION,
        old="(UNREQUESTED_BYTES if may_come else 0) and not awaited",
        new="UNREQUESTED_BYTES and not awaited",
        tests=f"{OF_SESSION}::test_a_stranger_may_send_no_payload",
    ),
    Mutant(
        rule="a ciphertext is given up for its delivery secret alone",
        file=BOOK,
        old="replica is not None and hmac.compare_digest(digest, replica.assignment.delivery_digest)",
        new="replica is not None",
        tests=f"{OF_BOOK}::test_a_result_is_given_up_for_its_delivery_secret_only",
    ),
    Mutant(
        rule="encryption has the task's id as associated data",
        file=CIPHERS,
        old="return task.encode(), work.work_hash",
        new="return (work.work_hash,)",
        tests=f"{OF_CIPHERS}::test_equal_arguments_give_equal_ciphertexts_and_others_do_not",
    ),
    Mutant(
        rule="encryption has the work hash as associated data: results of different work never agree",
        file=CIPHERS,
        old="return task.encode(), work.work_hash",
        new="return (task.encode(),)",
        tests=f"{OF_CIPHERS}::test_equal_arguments_give_equal_ciphertexts_and_others_do_not",
    ),
    Mutant(
        rule="the key of a result has a half that discovery does not know",
        file=CIPHERS,
        old="salt=work.nonce",
        new="salt=bytes(32)",
        tests=f"{OF_CIPHERS}::test_equal_arguments_give_equal_ciphertexts_and_others_do_not",
    ),
    Mutant(
        rule="encryption is deterministic: equal results have equal ciphertexts",
        file=CIPHERS,
        old=".encrypt(plaintext, _associated(task=task, label=label, work=work))",
        new=".encrypt(plaintext, [*_associated(task=task, label=label, work=work), __import__('os').urandom(16)])",
        tests=f"{OF_CIPHERS}::test_equal_arguments_give_equal_ciphertexts_and_others_do_not",
    ),
    Mutant(
        rule="committed is SHA-256 of the ciphertext",
        file=COMPUTER,
        old="ciphertext_digest(ciphertext)",
        new="ciphertext_digest(log)",
        tests=f"{OF_COMPUTER}::test_the_digest_of_the_stored_ciphertext_is_committed",
    ),
    Mutant(
        rule="a commitment that is said to be a limit agrees with no other",
        file="src/ec262/domain/work/digests.py",
        old="return hashlib.sha256(_STOPPED + digest).digest() if stopped else digest",
        new="return digest",
        tests="tests/unit/domain/discovery/test_reputation.py::test_a_lie_that_is_called_a_limit_agrees_with_no_lie_that_is_not",
    ),
    Mutant(
        rule="the foreman takes nothing else for a limit, and no limit for anything else",
        file=DELIVERIES,
        old="    if is_stopped(outcome) != stopped:",
        new="    if False:",
        tests="tests/unit/services/foreman/test_deliveries.py::test_a_result_that_was_committed_as_what_it_is_not_is_refused",
    ),
    Mutant(
        rule="the foreman checks the digest of what is delivered",
        file=DELIVERIES,
        old="    if stopped and not hmac.compare_digest(adjudicated_digest(committed, stopped=True), digest):",
        new="    if digest == b'':",
        tests=f"{OF_FOREMAN}::test_a_delivery_that_was_not_committed_is_refused",
    ),
    Mutant(
        rule="workers keep ciphertexts until the task's expiry",
        file=RESULTS,
        old="if kept[0] > now}",
        new="if kept[0] > now + 1e9}",
        tests=f"{OF_RESULTS}::test_purging_drops_what_is_forgotten_and_makes_room",
    ),
    Mutant(
        rule="equal results are equal whatever the order in which keys were yielded",
        file=OUTCOME,
        old="    rows = sorted(zip(keys, values, strict=True), key=itemgetter(0))",
        new="    rows = zip(keys, values, strict=True)",
        tests=f"{OF_PLAIN_PAIRS}::test_so_have_those_that_are_no_plain_ones",
    ),
    Mutant(
        rule="so are those whose keys are text",
        file=PAIRS,
        old="else sorted(rows)",
        new="else rows",
        tests=f"{OF_PLAIN_PAIRS}::test_the_short_cut_is_taken_for_what_most_jobs_yield",
    ),
    Mutant(
        rule="values that are equal and not the same keep their own bytes",
        file=PAIRS,
        old="return len(kinds) == 1 and kinds <= _EXACT_TYPES and",
        new="return",
        tests=f"{OF_PLAIN_PAIRS}::test_plain_pairs_have_the_bytes_of_all_pairs",
    ),
    Mutant(
        rule="only what honest workers write is taken for a result",
        file=PLAIN_PAIRS,
        old='if list(map(",".join, zip(named, valued, strict=True))) != list(times):',
        new="if len(named) != len(times):",
        tests=f"{OF_PLAIN_PAIRS}::test_changed_bytes_are_taken_exactly_if_they_are_canonical",
    ),
    Mutant(
        rule="the user's exception is a result: type, row and frames are compared",
        file=OUTCOME,
        old='["failure", outcome.function, outcome.exception, outcome.row, frames]',
        new='["failure", outcome.function, outcome.exception, outcome.row, []]',
        tests=OF_OUTCOME,
    ),
    Mutant(
        rule="a token is the owner's alone (mode 0600)",
        file=CREDENTIALS,
        old='    try:\n        with os.fdopen(descriptor, "w"',
        new='    os.fchmod(descriptor, 0o644)\n    try:\n        with os.fdopen(descriptor, "w"',
        tests=f"{OF_CREDENTIALS}::test_files_are_the_owners_alone",
    ),
)
