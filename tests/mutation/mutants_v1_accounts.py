"""Accounts, credits and strangers, as trust.md and the issue have them."""

from __future__ import annotations

from tests.mutation.mutant import Mutant

TASKS = "src/ec262/domain/discovery/tasks.py"
LEDGER = "src/ec262/domain/discovery/ledger.py"
TOKEN = "src/ec262/domain/protocol/token.py"
DOMAIN = "src/ec262/domain/discovery/accounts.py"
ACCOUNT_COMMANDS = "src/ec262/domain/protocol/account_calls.py"
DESK = "src/ec262/services/discovery/for_accounts.py"
WORKERS = "src/ec262/services/discovery/for_workers.py"
FOREMEN = "src/ec262/services/discovery/for_foremen.py"
TRANSACTIONS = "src/ec262/services/discovery/transactions.py"
SERVICE = "src/ec262/services/discovery/discovery_service.py"
REPLIES = "src/ec262/services/discovery/replies.py"
MEMORY = "src/ec262/adapters/memory/unit_of_work.py"
ADDRESS = "src/ec262/entrypoints/http/client_address.py"
RATES = "src/ec262/entrypoints/http/rates.py"
GATE = "src/ec262/entrypoints/http/middleware.py"
BELL = "src/ec262/entrypoints/http/long_poll.py"

ACCOUNTS = "tests/unit/services/discovery/test_discovery_accounts.py"
WORKING = "tests/unit/services/discovery/test_discovery_workers.py"
VERDICTS = "tests/unit/services/test_discovery_verdicts.py"
UPKEEP = "tests/unit/services/discovery/test_discovery_service.py"
OF_ACCOUNTS = "tests/unit/domain/discovery/test_accounts.py"
OF_LEDGER = "tests/unit/domain/discovery/test_ledger.py"
OF_TASKS = "tests/unit/domain/discovery/test_tasks.py"
OF_COMMANDS = "tests/unit/domain/protocol/test_commands.py"
OF_ADDRESS = "tests/unit/entrypoints/http/test_client_address.py"
OF_RATES = "tests/unit/entrypoints/http/test_rates.py"
OF_PROBER = "tests/integration/test_prober.py"
OF_CONNECTIONS = "tests/integration/test_discovery_connections.py"
OF_BELL = "tests/unit/entrypoints/http/test_discovery_bell.py"
STORAGE = "tests/contract/test_unit_of_work_contract.py"

TOKENS = (
    Mutant(
        rule="tokens are stored hashed (token stored in clear)",
        file=TOKEN,
        old="    return hashlib.sha256(token.encode()).digest()",
        new="    return token.encode()",
        tests=f"{OF_ACCOUNTS}::test_a_token_is_known_by_its_sha256",
    ),
    Mutant(
        rule="nobody guesses a token",
        file=TOKEN,
        old='TOKEN_PATTERN = r"[A-Za-z0-9._~+/=-]{32,256}"',
        new='TOKEN_PATTERN = r"[A-Za-z0-9._~+/=-]{8,256}"',
        tests=f"{OF_ACCOUNTS}::test_weak_or_malformed_tokens_are_refused",
    ),
    Mutant(
        rule="a token is found again: one account, one grant",
        file=DESK,
        old="        if known is not None:\n            return known\n",
        new="",
        tests=f"{ACCOUNTS}::test_the_first_contact_opens_an_account_with_the_grant_and_the_next_finds_it",
    ),
    Mutant(
        rule="a revoked token opens nothing, and no new account either",
        file=DESK,
        old="        if accounts.is_revoked(digest):\n            raise NotAuthenticated(REVOKED)\n        name",
        new="        name",
        tests=f"{ACCOUNTS}::test_a_revoked_token_opens_nothing",
    ),
    Mutant(
        rule="a token that was replaced opens nothing",
        file=DESK,
        old="            accounts.revoke(account.id)\n            accounts.add_token",
        new="            accounts.add_token",
        tests=f"{ACCOUNTS}::test_a_new_token_opens_the_account_and_the_old_one_nothing",
    ),
    Mutant(
        rule="nobody takes another's account by replacing tokens",
        file=DESK,
        old="            if accounts.by_token(new) is not None or accounts.is_revoked(new):",
        new="            if accounts.is_revoked(new):",
        tests=f"{ACCOUNTS}::test_a_new_token_has_to_be_new",
    ),
    Mutant(
        rule="a replacement can be repeated",
        file=DESK,
        old="            if accounts.is_revoked(old) and accounts.by_token(new) is not None:",
        new="            if False:",
        tests=f"{ACCOUNTS}::test_a_replacement_can_be_repeated",
    ),
    Mutant(
        rule="a replaced token gives no access to a new one of one's own",
        file=DESK,
        old="            if accounts.is_revoked(old) and accounts.by_token(new) is not None:",
        new="            if accounts.is_revoked(old):",
        tests=f"{ACCOUNTS}::test_a_replaced_token_opens_no_account",
    ),
    Mutant(
        rule="the worker of a closed account is drawn no more",
        file=DESK,
        old="            transaction.uow.pool.remove(account.id)\n",
        new="",
        tests=f"{ACCOUNTS}::test_closing_ends_access_and_lease_but_no_task",
    ),
    Mutant(
        rule="a frozen account looks, and does nothing",
        file=TRANSACTIONS,
        old="        account.check_active()\n",
        new="",
        tests=f"{ACCOUNTS}::test_a_frozen_account_looks_and_leaves_and_does_nothing_else",
    ),
    Mutant(
        rule="a frozen account redeems no invitation",
        file=DESK,
        old="self._redeemed(transaction, transaction.locked(token), invitation)",
        new="self._redeemed(transaction, account, invitation)",
        tests=f"{ACCOUNTS}::test_a_frozen_account_redeems_nothing",
    ),
    Mutant(
        rule="a new address is believed only when somebody with that certificate answers",
        file=WORKERS,
        old="            self._prober.probe(address, account=worker, source=source)",
        new="            pass",
        tests=f"{WORKING}::test_a_silent_address_does_not_join",
    ),
    Mutant(
        rule="a new address is knocked at, also of a worker that is known",
        file=WORKERS,
        old=" or known.address != address",
        new="",
        tests=f"{WORKING}::test_a_new_address_is_knocked_at",
    ),
)

GRANTS = (
    Mutant(
        rule="the grant is the operator's choice: none",
        file=DESK,
        old="            account = self._opened(transaction, token, grant=self._policy.grant)",
        new="            account = self._opened(transaction, token, grant=12)",
        tests=f"{ACCOUNTS}::test_an_operator_may_grant_nothing",
    ),
    Mutant(
        rule="the grant is the operator's choice: by invitation, as often as it says (invitation reused)",
        file=DOMAIN,
        old="uses_left=self.uses_left - 1)",
        new="uses_left=self.uses_left)",
        tests=f"{OF_ACCOUNTS}::test_an_invitation_is_used_up",
    ),
    Mutant(
        rule="an invitation that is used up brings nothing",
        file=DESK,
        old="        transaction.uow.invitations.save(invitation.redeemed(now=transaction.now))\n",
        new="",
        tests=f"{ACCOUNTS}::test_a_used_up_invitation_opens_no_account",
    ),
    Mutant(
        rule="an invitation runs out",
        file=DOMAIN,
        old="self.expires_at is not None and now >= self.expires_at",
        new="False",
        tests=f"{OF_ACCOUNTS}::test_an_invitation_runs_out",
    ),
    Mutant(
        rule="an invitation counts once for an account, and can be repeated",
        file=DESK,
        old="            return account  # redeemed before: posting the same transfer again moves nothing",
        new="            pass",
        tests=f"{ACCOUNTS}::test_an_invitation_opens_an_account_with_its_credits_once",
    ),
    Mutant(
        rule="one account's invitation is not another's",
        file=LEDGER,
        old='        id=f"invitation:{invitation}:{account}",',
        new='        id=f"invitation:{invitation}",',
        tests=f"{OF_LEDGER}::test_an_invitation_counts_once_an_account_and_adds_to_what_is_granted",
    ),
    Mutant(
        rule="the operator may take no invitations",
        file=DESK,
        old="        if not self._policy.invitations:",
        new="        if False:",
        tests=f"{ACCOUNTS}::test_an_unknown_invitation_is_not_used_up",
    ),
    Mutant(
        rule="what is refused moves nothing and opens nothing",
        file=TRANSACTIONS,
        old="            yield transaction",
        new="            try:\n                yield transaction\n            finally:\n                uow.commit()",
        tests=f"{ACCOUNTS}::test_a_used_up_invitation_opens_no_account",
    ),
)

BOOKS = (
    Mutant(
        rule="every movement is a double entry",
        file=LEDGER,
        old="transfer.credit: balances.get(transfer.credit, 0) + transfer.amount}",
        new="transfer.credit: balances.get(transfer.credit, 0) + 1}",
        tests=f"{OF_LEDGER}::test_a_transfer_takes_here_and_gives_there",
    ),
    Mutant(
        rule="nobody but the mint owes",
        file=LEDGER,
        old="    if left < 0 and transfer.debit != MINT:",
        new="    if False:",
        tests=f"{OF_LEDGER}::test_no_account_is_overdrawn",
    ),
    Mutant(
        rule="the same id twice is one movement",
        file=MEMORY,
        old="            if posted is None:\n                self._move(transfer)\n"
        "            elif posted[1] != transfer:",
        new="            if posted is None or posted[1] == transfer:\n                self._move(transfer)\n"
        "            else:",
        tests=f"{STORAGE}::test_an_id_is_one_movement",
    ),
    Mutant(
        rule="an id is not two movements",
        file=MEMORY,
        old="            elif posted[1] != transfer:",
        new="            elif False:",
        tests=f"{STORAGE}::test_an_id_is_not_two_movements",
    ),
    Mutant(
        rule="a grant is made once an account",
        file=LEDGER,
        old='        id=f"grant:{account}", debit',
        new='        id=f"grant:{account}:{at}", debit',
        tests=f"{OF_LEDGER}::test_the_same_movement_later_is_the_same_movement "
        f"{OF_LEDGER}::test_a_grant_has_one_id_an_account",
    ),
    Mutant(
        rule="balances, escrows and the service's account add up to what was granted: an audit notices",
        file=LEDGER,
        old="    if total != 0:",
        new="    if False:",
        tests=f"{OF_LEDGER}::test_audit_notices_credits_out_of_nothing",
    ),
    Mutant(
        rule="a unit of work that fails leaves nothing behind",
        file=MEMORY,
        old="            self._store.journal.pop()()",
        new="            self._store.journal.pop()",
        tests=f"{STORAGE}::test_an_error_undoes_too {UPKEEP}::test_books_that_refuse_a_movement_undo_the_whole_request",
    ),
    Mutant(
        rule="a history goes back to the first movement",
        file=DESK,
        old="            more=len(postings) > query.limit,",
        new="            more=False,",
        tests=f"{ACCOUNTS}::test_a_history_is_read_page_by_page",
    ),
    Mutant(
        rule="a history is the account's own",
        file=DESK,
        old="            account = ledger.user_account(transaction.account(token).id)",
        new='            transaction.account(token)\n            account = "service"',
        tests=f"{ACCOUNTS}::test_a_win_is_explained_to_its_winner",
    ),
)

STRANGERS = (
    Mutant(
        rule="forwarded headers are believed from trusted proxies alone (forwarded header believed)",
        file=ADDRESS,
        old="        while self._is_trusted(address) and forwarded:",
        new="        while forwarded:",
        tests=OF_ADDRESS,
    ),
    Mutant(
        rule="who hides its address behind a proxy does not pass for the proxy",
        file=ADDRESS,
        old="                raise InvalidRequest(UNREADABLE)",
        new="                break",
        tests=f"{OF_ADDRESS}::test_a_proxys_header_without_an_address_is_refused",
    ),
    Mutant(
        rule="a request whose end is ambiguous is refused",
        file=GATE,
        old='    if "transfer-encoding" not in request.headers:\n        return False',
        new="    return False",
        tests=f"{OF_CONNECTIONS}::test_a_request_whose_end_is_ambiguous_is_refused_and_nothing_after_it_is_read",
    ),
    Mutant(
        rule="who does not read replies holds no connection",
        file="src/ec262/entrypoints/http/slow_readers.py",
        old="        if self._taken_so_far() - self._taken < LEAST_WRITTEN:",
        new="        if False:",
        tests=f"{OF_CONNECTIONS}::test_a_reply_that_nobody_reads_is_given_up",
    ),
    Mutant(
        rule="two addresses do not hold all connections",
        file="src/ec262/entrypoints/http/server.py",
        old="        self.guarded.make_room(host)\n",
        new="",
        tests=f"{OF_CONNECTIONS}::test_two_addresses_that_hold_all_connections_make_room_for_a_third",
    ),
    Mutant(
        rule="silent machines of few addresses do not block registration",
        file="src/ec262/adapters/tcp/knocks.py",
        old="MAX_DOUBTED, MAX_DOUBTED_PER_SOURCE, DOUBT_S = 8, 2, 300.0",
        new="MAX_DOUBTED, MAX_DOUBTED_PER_SOURCE, DOUBT_S = 16, 8, 300.0",
        tests=f"{OF_PROBER}::test_sources_where_a_check_failed_share_few_places_for_a_while",
    ),
    Mutant(
        rule="an account waits after a failed check",
        file="src/ec262/adapters/tcp/knocks.py",
        old="        if now < wait_until:",
        new="        if False:",
        tests=f"{OF_PROBER}::test_an_account_waits_longer_after_each_failure_and_not_after_an_answer",
    ),
    Mutant(
        rule="discovery knocks at no private addresses for strangers",
        file="src/ec262/adapters/tcp/tls_prober.py",
        old="        return _is_global(ip) or any(ip in network for network in self._networks)",
        new="        return True",
        tests=f"{OF_PROBER}::test_strangers_cannot_have_the_services_own_machine_knocked_at",
    ),
    Mutant(
        rule="an IPv6 address counts as its /64",
        file="src/ec262/domain/protocol/networks.py",
        old="IPV6_BITS = 64",
        new="IPV6_BITS = 128",
        tests=f"{OF_RATES}::test_one_ipv6_network_counts_as_one_address",
    ),
    Mutant(
        rule="a beginner gets no long lease",
        file="src/ec262/services/discovery/for_workers.py",
        old="min(command.ttl_s, self._policy.beginner_lease_s)",
        new="command.ttl_s",
        tests=f"{WORKING}::test_a_long_lease_is_for_those_who_have_earned",
    ),
    Mutant(
        rule="beginners have a limited number of places",
        file="src/ec262/domain/discovery/pool/beginners.py",
        old="    if len(others) < places:",
        new="    if True:",
        tests="tests/unit/domain/discovery/test_beginners.py",
    ),
    Mutant(
        rule="an offer of packages has few characters",
        file="src/ec262/domain/protocol/shapes.py",
        old="    if size > MAX_PACKAGES_CHARS:",
        new="    if False:",
        tests=f"{OF_COMMANDS}::test_names_of_packages_have_few_characters_in_all",
    ),
    Mutant(
        rule="rates are limited per account",
        file=RATES,
        old="        wait_s = 0.0 if tokens >= 1 else (1 - tokens) / self._rate.per_s",
        new="        wait_s = 0.0",
        tests=OF_RATES,
    ),
    Mutant(
        rule="what waiting costs is limited per account",
        file=BELL,
        old="            yield LOOK_S if self._held[caller] <= MAX_LOOKED_AFTER else MAX_WAIT_S",
        new="            yield LOOK_S",
        tests=f"{OF_BELL}::test_the_number_of_answers_kept_for_a_caller_is_limited",
    ),
    Mutant(
        rule="only winners are reported, and only by who bought the task",
        file=FOREMEN,
        old="                if (report.task, report.worker) in winners:",
        new="                if True:",
        tests=f"{VERDICTS}::test_only_winners_of_ones_own_tasks_are_reported",
    ),
    Mutant(
        rule="a foreman reports its own tasks' winners",
        file=FOREMEN,
        old="                if task.foreman == foreman and task.won",
        new="                if task.won",
        tests=f"{VERDICTS}::test_only_winners_of_ones_own_tasks_are_reported",
    ),
    Mutant(
        rule="reports count by different foremen",
        file=MEMORY,
        old='        self._table.put(f"{worker}/{foreman}", self._table.rows.get(f"{worker}/{foreman}", at))',
        new='        self._table.put(f"{worker}/{foreman}/{len(self._table.rows)}", at)',
        tests=f"{VERDICTS}::test_each_foreman_reports_a_worker_once_and_no_credits_move",
    ),
    Mutant(
        rule="keys are printed nowhere",
        file=TASKS,
        old="    key: bytes | None = attrs.field(repr=False)",
        new="    key: bytes | None = attrs.field()",
        tests=f"{OF_TASKS}::test_secrets_are_not_printed",
    ),
    Mutant(
        rule="tokens are printed nowhere",
        file=ACCOUNT_COMMANDS,
        old="    token: str = attrs.field(repr=False, validator=_token)",
        new="    token: str = attrs.field(validator=_token)",
        tests=f"{OF_COMMANDS}::test_secrets_stay_out_of_reprs",
    ),
    Mutant(
        rule="expired leases and forgotten tasks are purged by the service itself",
        file=SERVICE,
        old="            uow.tasks.forget(now)\n",
        new="",
        tests=f"{VERDICTS}::test_tasks_are_forgotten_a_day_after_their_deadline",
    ),
)

MUTANTS = (*TOKENS, *GRANTS, *BOOKS, *STRANGERS)
