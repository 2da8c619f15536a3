"""Requests made out of the OpenAPI document, valid and not: none is a failure of the service, and every reply is one
that the document tells of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ec262.adapters.sql.sql_unit_of_work import SqlDatabase
from ec262.domain.discovery.unit_of_work import UnitOfWorkFactory
from ec262.entrypoints.discovery.discovery_api import discovery_app
from ec262.entrypoints.discovery.routes import ROUTES, Route
from tests.discovery_town import FOREMAN, build_town
from tests.live_discovery import served

EXAMPLES = 8
CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def unit_of_work(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[UnitOfWorkFactory]:
    """Each kind of storage: what one takes, another may choke on."""
    file = tmp_path_factory.mktemp("fuzz") / "discovery.sqlite"
    server = None if request.param == "sqlite" else request.getfixturevalue("postgres_server")
    database = SqlDatabase(f"sqlite:///{file}" if server is None else server.fresh_url())
    yield database.unit_of_work
    database.close()


@pytest.fixture(scope="module")
def api(unit_of_work: UnitOfWorkFactory) -> Iterator[schemathesis.schemas.BaseSchema]:
    """The document of a service with a foreman, workers, and a task."""
    town = build_town(workers=4, grant=1000, unit_of_work=unit_of_work)
    town.buy()
    with served(discovery_app(town.service, town.bell)) as url:
        yield schemathesis.openapi.from_url(f"{url}/openapi.json")


VALID, INVALID = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
KINDS = [
    pytest.param(route, mode, id=f"{route.method} {route.path} {mode.value}")
    for route in ROUTES
    for mode in ((VALID, INVALID) if route.request is not None else (VALID,))
]


@pytest.mark.parametrize(("route", "mode"), KINDS)
def test_no_request_is_a_failure(
    api: schemathesis.schemas.BaseSchema, route: Route, mode: schemathesis.GenerationMode
) -> None:
    method, path = route.method, route.path
    destructive = (method, path) in {("DELETE", "/v1/account"), ("PUT", "/v1/account/token")}
    token = "nobody-" + "n" * 40 if destructive else FOREMAN

    @settings(
        max_examples=EXAMPLES,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    @given(api[path][method].as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case[Any]) -> None:
        response = case.call(headers={"Authorization": f"Bearer {token}"})
        case.validate_response(response, checks=CHECKS)

    ask()
