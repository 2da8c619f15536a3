"""Workers, their records, and how tasks are bought from the 2012 API."""

from __future__ import annotations

from tests.mutation.mutant import Mutant
from tests.mutation.paths_2012 import (
    ADDRESSES,
    API,
    CLIENTS,
    DRAW,
    MEMORY,
    NUMBERS,
    OF_CLIENTS,
    OF_DRAW,
    OF_PARAMETERS,
    PARAMETERS,
    ROUTES,
    SERVICE,
    SQL,
    SQL_UOW,
    STORAGE,
    USE,
)

WORKERS = (
    Mutant(
        rule="starting credits come once, at first contact",
        file=SERVICE,
        old="        if known is not None:\n            return known",
        new="        if known is not None and known.pooled:\n            return known",
        tests=USE,
    ),
    Mutant(
        rule="credits are never reset",
        file=CLIENTS,
        old="            port=registration.port,\n",
        new="            port=registration.port,\n            credits=12,\n",
        tests=f"{OF_CLIENTS}::test_a_registration_sets_port_and_expiry_and_nothing_else",
    ),
    Mutant(
        rule="a registration sets the port every time",
        file=CLIENTS,
        old="            port=registration.port,\n",
        new="            port=self.port or registration.port,\n",
        tests=f"{OF_CLIENTS}::test_a_registration_sets_port_and_expiry_and_nothing_else",
    ),
    Mutant(
        rule="a registration sets the expiry every time, to now + ttl",
        file=CLIENTS,
        old="expires_at=now + registration.ttl_s,",
        new="expires_at=max(self.expires_at or 0, now + registration.ttl_s),",
        tests=f"{USE}::test_a_worker_that_leaves_keeps_its_record_and_credits",
    ),
    Mutant(
        rule="ttl=-1 leaves the pool at once",
        file=CLIENTS,
        old="pooled=registration.ttl_s != LEAVE_S,",
        new="pooled=True,",
        tests=f"{OF_CLIENTS}::test_a_registration_sets_port_and_expiry_and_nothing_else",
    ),
    Mutant(
        rule="ttl=-1 answers 200 even for one that never was there",
        file=SERVICE,
        old="            client = self._first_contact(uow, addr, now).registered(command, now=now)",
        new="            known = self._first_contact(uow, addr, now) if command.ttl_s > 0 else uow.clients.get(addr)\n"
        "            if known is None:\n"
        '                raise UnknownClient("Unknown client")\n'
        "            client = known.registered(command, now=now)",
        tests=f"{USE}::test_leaving_without_having_joined_is_allowed",
    ),
    Mutant(
        rule="ttl below 1: 400",
        file=PARAMETERS,
        old="not 1 <= ttl_s <= MAX_LEASE_S",
        new="not 0 <= ttl_s <= MAX_LEASE_S",
        tests=f"{OF_PARAMETERS}::test_leases_out_of_range",
    ),
    Mutant(
        rule="ttl above 24 h: 400",
        file=PARAMETERS,
        old="not 1 <= ttl_s <= MAX_LEASE_S",
        new="not 1 <= ttl_s",
        tests=f"{OF_PARAMETERS}::test_leases_out_of_range",
    ),
    Mutant(
        rule="port outside 1..65535: 400",
        file=PARAMETERS,
        old="not 1 <= port <= MAX_PORT",
        new="port > MAX_PORT",
        tests=f"{OF_PARAMETERS}::test_ports_out_of_range",
    ),
    Mutant(
        rule="re-registering is always allowed: that is how workers come back, and how one takes several tasks",
        file=CLIENTS,
        old="pooled=registration.ttl_s != LEAVE_S,",
        new="pooled=registration.ttl_s != LEAVE_S and (self.pooled or self.port is None),",
        tests=f"{USE}::test_workers_come_back_by_registering_and_not_by_a_tasks_end",
    ),
)

RECORDS = (
    Mutant(
        rule="asking for the record creates nothing",
        file=SERVICE,
        old="            return _known(uow, addr)\n",
        new="            return self._first_contact(uow, addr, 0.0)\n",
        tests=f"{USE}::test_asking_makes_nobody_known",
    ),
    Mutant(
        rule="404 `Unknown client`",
        file=SERVICE,
        old='raise UnknownClient("Unknown client")',
        new='raise UnknownClient("No such client")',
        tests=f"{API}::test_asking_for_what_is_not_there",
    ),
    Mutant(
        rule="in records every value is a JSON string",
        file=CLIENTS,
        old="return {name: str(value) for",
        new="return {name: value for",
        tests=f"{API}::test_replies_are_compact_and_their_type_is_spelt_as_ever",
    ),
    Mutant(
        rule="tasks_completed is absent until first counted",
        file=CLIENTS,
        old="self.tasks_completed or None",
        new="self.tasks_completed",
        tests=f"{OF_CLIENTS}::test_a_record_lacks_what_never_was",
    ),
    Mutant(
        rule="tasks_failed is absent until first counted",
        file=CLIENTS,
        old="self.tasks_failed or None",
        new="self.tasks_failed",
        tests=f"{OF_CLIENTS}::test_a_record_lacks_what_never_was",
    ),
    Mutant(
        rule="expiry is in whole Unix seconds",
        file=CLIENTS,
        old="int(self.expires_at)",
        new="self.expires_at",
        tests=f"{OF_CLIENTS}::test_every_value_of_a_record_is_text_and_in_order",
    ),
)

BUYING = (
    Mutant(
        rule="n must be a plain decimal",
        file=NUMBERS,
        old='    if re.fullmatch("[0-9]+", text) is None:',
        new="    if not text.isdigit():",
        tests=f"{OF_PARAMETERS}::test_no_number_of_tasks",
    ),
    Mutant(
        rule="n must be at least 1",
        file=PARAMETERS,
        old="    if wanted is None or wanted < 1:",
        new="    if wanted is None:",
        tests=f"{OF_PARAMETERS}::test_no_number_of_tasks",
    ),
    Mutant(
        rule="at most n tasks",
        file=SERVICE,
        old="count = min(wanted, len(others) // size)",
        new="count = len(others) // size",
        tests=f"{USE}::test_no_more_tasks_than_were_asked_for",
    ),
    Mutant(
        rule="whole triples only",
        file=SERVICE,
        old="count = min(wanted, len(others) // size)",
        new="count = min(wanted, -(-len(others) // size))",
        tests=f"{USE}::test_there_are_whole_triples_only_and_the_rest_stay",
    ),
    Mutant(
        rule="candidates are those whose lease has not run out (memory)",
        file=MEMORY,
        old=" and client.expires_at > now",
        new="",
        tests=f"{USE}::test_a_lease_runs_out_at_its_end_and_not_before",
    ),
    Mutant(
        rule="candidates are those whose lease has not run out (SQL)",
        file=SQL,
        old='clients.c.expires_at > bindparam("now")',
        new='clients.c.expires_at >= bindparam("now")',
        tests=f"{STORAGE}::test_the_pool_is_who_is_in_it_and_whose_lease_lasts",
    ),
    Mutant(
        rule="the foreman itself is left out",
        file=SERVICE,
        old=" if worker.addr != addr]",
        new="]",
        tests=f"{USE}::test_a_foreman_is_none_of_its_workers_and_stays_in_the_pool",
    ),
    Mutant(
        rule="the foreman stays in the pool for others",
        file=CLIENTS,
        old="            self, credits=self.credits + sum(",
        new="            self, pooled=False, credits=self.credits + sum(",
        tests=f"{USE}::test_a_foreman_is_none_of_its_workers_and_stays_in_the_pool",
    ),
    Mutant(
        rule="candidates are shuffled",
        file=DRAW,
        old='        lot = int.from_bytes(entropy.token(_LOT_BYTES), "big")',
        new="        lot = 0",
        tests=f"{OF_DRAW}::test_every_place_is_drawn_by_lot",
    ),
    Mutant(
        rule="no worker twice",
        file=DRAW,
        old="        deck[place], deck[other] = deck[other], deck[place]",
        new="        deck[place] = deck[other]",
        tests=f"{OF_DRAW}::test_everybody_can_be_drawn_once",
    ),
    Mutant(
        rule="those assigned leave the pool",
        file=SERVICE,
        old="            uow.clients.take([worker.addr for worker in drawn])\n",
        new="",
        tests=f"{USE}::test_workers_come_back_by_registering_and_not_by_a_tasks_end",
    ),
    Mutant(
        rule="the rest stay in the pool",
        file=SERVICE,
        old="uow.clients.take([worker.addr for worker in drawn])",
        new="uow.clients.take([worker.addr for worker in others])",
        tests=f"{USE}::test_there_are_whole_triples_only_and_the_rest_stay",
    ),
    Mutant(
        rule="workers do not come back when the task ends",
        file=CLIENTS,
        old="return attrs.evolve(self, tasks_completed=self.tasks_completed + 1)",
        new="return attrs.evolve(self, tasks_completed=self.tasks_completed + 1, pooled=True)",
        tests=f"{USE}::test_workers_come_back_by_registering_and_not_by_a_tasks_end",
    ),
    Mutant(
        rule="a foreman never seen gets 12 credits",
        file=SERVICE,
        old="        client = Client(addr=addr).booked(entries)",
        new="        client = Client(addr=addr)",
        tests=f"{USE}::test_a_task_has_three_workers_and_costs_three_credits",
    ),
    Mutant(
        rule="it pays for what was assigned",
        file=SERVICE,
        old="            _book(uow, [foreman], [ledger_2012.purchase(task, at=now) for task in tasks])\n",
        new="            _book(uow, [], [ledger_2012.purchase(task, at=now) for task in tasks])\n",
        tests=f"{USE}::test_a_task_has_three_workers_and_costs_three_credits",
    ),
    Mutant(
        rule="not for what was asked: the remainder is not charged, nor need it be affordable",
        file=SERVICE,
        old="foreman.afford(count * self.constants.price)",
        new="foreman.afford(wanted * self.constants.price)",
        tests=f"{USE}::test_the_purse_need_not_cover_what_was_asked_for_but_not_assigned",
    ),
    Mutant(
        rule="too poor: 406, and nothing is charged",
        file=CLIENTS,
        old="        if price > self.credits:",
        new="        if price > self.credits + 3:",
        tests=f"{OF_CLIENTS}::test_a_purse_is_enough_or_it_is_not",
    ),
    Mutant(
        rule="too poor: nobody is taken from the pool",
        file=SERVICE,
        old="            foreman.afford(count * self.constants.price)\n"
        "            drawn = draw(others, count * size, self._entropy)\n"
        "            uow.clients.take([worker.addr for worker in drawn])\n",
        new="            drawn = draw(others, count * size, self._entropy)\n"
        "            uow.clients.take([worker.addr for worker in drawn])\n"
        "            foreman.afford(count * self.constants.price)\n",
        tests=f"{USE}::test_a_foreman_without_credits_is_refused_and_nothing_changes",
    ),
    Mutant(
        rule="no partial fill",
        file=SERVICE,
        old="            foreman.afford(count * self.constants.price)\n",
        new="            count = min(count, foreman.credits // self.constants.price)\n",
        tests=f"{USE}::test_a_foreman_without_credits_is_refused_and_nothing_changes",
    ),
    Mutant(
        rule="a 406 tells JSON numbers",
        file=ROUTES,
        old='"available_credits": error.have',
        new='"available_credits": str(error.have)',
        tests=f"{API}::test_a_shortage_of_credits_is_reported_in_numbers",
    ),
    Mutant(
        rule="choosing and paying is one atomic step: threads of one process (memory)",
        file=MEMORY,
        old="        self.turn = threading.Lock()",
        new="        self.turn = threading.Semaphore(9)",
        tests=f"{STORAGE}::test_a_unit_of_work_waits_for_the_one_before",
    ),
    Mutant(
        rule="choosing and paying is one atomic step, also with several service processes (PostgreSQL)",
        file=SQL_UOW,
        old="                advisory_lock(self._connection, ADVISORY_LOCK)",
        new="                pass",
        tests=f"{STORAGE}::test_a_unit_of_work_waits_for_the_one_before",
    ),
    Mutant(
        rule="ids are never reused",
        file=SERVICE,
        old="id=self._entropy.token(ID_BYTES).hex(),",
        new="id=bytes(self._entropy.token(1) * ID_BYTES).hex(),",
        tests=f"{USE}::test_ids_and_keys_are_never_used_again",
    ),
    Mutant(
        rule="IPv6 workers are spelt [::1]:26262",
        file=ADDRESSES,
        old='return f"[{self.addr}]:{self.port}" if ":" in self.addr else',
        new="return",
        tests=f"{API}::test_workers_on_ipv6_are_spelt_in_brackets",
    ),
)
