"""The OpenAPI 3.1 document of the discovery service, generated from its table of routes, and an HTML page of it."""

from __future__ import annotations

import html
import inspect
import json
import re
from typing import Any

import attrs
import msgspec

from ec262.domain.protocol import account_calls, address, foreman_calls, requirement, worker_calls
from ec262.domain.work import runtime
from ec262.entrypoints.discovery.openapi_limits import add_limits
from ec262.entrypoints.discovery.routes import COMMON_ERRORS, ROUTES, STATUS, ErrorBody, Route
from ec262.version import __version__

_SCHEMAS = "#/components/schemas/"


def openapi_document() -> dict[str, Any]:
    """Describe the whole ``/v1`` API."""
    bodies = [kind for route in ROUTES for kind in (route.request, route.reply) if kind is not None]
    _, schemas = msgspec.json.schema_components([*bodies, ErrorBody], ref_template=_SCHEMAS + "{name}")
    add_limits([kind for name, kind in _body_classes().items() if name in schemas], schemas)
    for schema in schemas.values():
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ec262 discovery",
            "version": __version__,
            "description": "Introduces foremen to workers and keeps leases, task keys and credits. Every call may be "
            "repeated. Bytes are standard Base64; durations are seconds from the moment of the reply.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Made by the client: 32 to 256 unguessable characters. "
                    "POST /v1/account opens its account.",
                }
            },
        },
    }


def _body_classes() -> dict[str, type]:
    """Return the classes that bodies consist of, by name."""
    modules = (account_calls, address, foreman_calls, requirement, runtime, worker_calls)
    return {name: kind for module in modules for name, kind in vars(module).items() if attrs.has(kind)}


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "responses": _responses(route),
    }
    if route.request is not None:
        operation["requestBody"] = {"required": True, "content": _content(route.request)}
    return operation


def _operation_id(route: Route) -> str:
    words = re.findall(r"\w+", route.path.removeprefix("/v1/"))
    return "_".join([route.method.lower(), *words])


def _responses(route: Route) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    if route.reply is None:
        responses["204"] = {"description": "Done."}
    else:
        codes = ", ".join(f"`{error.code}`" for error in route.item_errors)
        refused = f"\n\nItems may be refused one by one: {codes}." if codes else ""
        responses["200"] = {"description": f"{inspect.getdoc(route.reply)}{refused}", "content": _content(route.reply)}
    reasons: dict[int, list[str]] = {}
    for error in (*COMMON_ERRORS, *route.errors):
        reasons.setdefault(STATUS[error], []).append(f"`{error.code}`: {inspect.getdoc(error)}")
    reasons |= {
        500: ["`internal_error`: The service failed."],
        503: ["`unavailable`: The storage does not answer at the moment; repeat the call."],
    }
    if route.request is not None:
        reasons |= {
            408: ["`refused`: The body did not arrive in time."],
            413: ["`refused`: The body is too large."],
        }
    for status, lines in sorted(reasons.items()):
        responses[str(status)] = {"description": "\n\n".join(lines), "content": _content(ErrorBody)}
    return responses


def _content(kind: type) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"{_SCHEMAS}{kind.__name__}"}}}


def html_page(document: dict[str, Any]) -> str:
    """Render the document as one page without scripts or external resources."""
    operations = "".join(
        _html_operation(path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    schemas = "".join(
        f'<h3 id="{html.escape(name)}">{html.escape(name)}</h3>{_html_schema(schema)}'
        for name, schema in document["components"]["schemas"].items()
    )
    title = html.escape(document["info"]["title"])
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        "<style>body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
        "code,pre{background:#f2f2f2}pre{padding:.5em;overflow:auto}td,th{padding:.2em .8em .2em 0;text-align:left;"
        "vertical-align:top}</style>"
        f"<h1>{title} {html.escape(document['info']['version'])}</h1>"
        f"<p>{html.escape(document['info']['description'])}</p>"
        '<p>For programs: <a href="openapi.json">openapi.json</a>.</p>'
        f"<h2>Calls</h2>{operations}<h2>Bodies</h2>{schemas}</html>"
    )


def _html_operation(path: str, method: str, operation: dict[str, Any]) -> str:
    body = operation.get("requestBody")
    takes = f"<p>Takes {_html_link(body['content'])}.</p>" if body else ""
    rows = "".join(
        f"<tr><td>{html.escape(status)}<td>{_html_text(reply['description'])}"
        f"<td>{_html_link(reply['content']) if 'content' in reply else ''}"
        for status, reply in operation["responses"].items()
    )
    return (
        f"<h3><code>{html.escape(method.upper())} {html.escape(path)}</code></h3>"
        f"<p>{html.escape(operation['summary'])}</p>{takes}<table>{rows}</table>"
    )


def _html_schema(schema: dict[str, Any]) -> str:
    description = _html_text(schema.get("description", ""))
    detail = {name: value for name, value in schema.items() if name not in {"title", "description"}}
    return f"<p>{description}</p><pre>{html.escape(json.dumps(detail, indent=2))}</pre>"


def _html_link(content: dict[str, Any]) -> str:
    name = html.escape(content["application/json"]["schema"]["$ref"].removeprefix(_SCHEMAS))
    return f'<a href="#{name}">{name}</a>'


def _html_text(text: str) -> str:
    return re.sub(r"`+([^`]+)`+", r"<code>\1</code>", html.escape(text)).replace("\n\n", "<br>")
