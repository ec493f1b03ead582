"""Every request acts as somebody. Whatever is not on the list of public paths needs a credential."""

import re
from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import Depends, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import NotAuthenticated, NotPermitted
from app.http.rate_limit import CALLER
from app.identity.event_tokens import EventTokens
from app.identity.keys import KeyRing
from app.identity.link_tokens import LinkTokens
from app.identity.permissions import Action, action_of, may
from app.identity.principals import Principal
from app.observability.context import bind

PUBLIC_PATHS = frozenset(
    {"/health", "/health/live", "/health/ready", "/docs", "/docs/oauth2-redirect", "/openapi.json"}
)
_EVENT_STREAM = re.compile(r"/v1/(?:[a-z_-]+/)+(?P<id>[^/]+)/events")
_APPROVAL_LINK = re.compile(r"/v1/approvals/links/(?P<token>[^/]+)")
_POLICY_VIOLATION = 1008

FailureHook = Callable[[Scope], Awaitable[None]]
PrincipalHook = Callable[[Scope, Principal], None]


def _nothing(_scope: Scope, _principal: Principal) -> None:
    return


class Authentication:
    """Middleware: puts the `Principal` on ``request.state``, or refuses. Denies by default: no route can forget it."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        keyring: KeyRing,
        tokens: EventTokens,
        links: LinkTokens,
        on_failure: FailureHook,
        on_success: PrincipalHook = _nothing,
        on_denied: PrincipalHook = _nothing,
        public_paths: frozenset[str] = PUBLIC_PATHS,
    ) -> None:
        """``on_failure`` is awaited for every refused credential and may raise `RateLimited` instead.

        ``on_success`` is called for every one that is good; without keys there is none. ``on_denied`` is called for
        every request that its principal may not make, whoever says so.
        """
        self._app = app
        self._keyring = keyring
        self._tokens = tokens
        self._links = links
        self._on_failure = on_failure
        self._on_success = on_success
        self._on_denied = on_denied
        self._public_paths = public_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
        if scope["type"] == "http" and scope["path"] not in self._public_paths:
            principal = await self._admit(scope)
            send = self._watching(scope, principal, send)
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope) -> Principal:
        scope.setdefault("state", {})
        try:
            principal = self._principal(scope)
        except NotAuthenticated:
            await self._on_failure(scope)
            raise
        state = scope["state"]
        state["principal"] = principal
        if not self._keyring.is_open:
            state[CALLER] = principal.key_id
            self._on_success(scope, principal)
        bind(tenant_id=principal.tenant_id)
        try:
            require(principal, action_of(scope["method"], scope["path"]))
        except NotPermitted:
            self._on_denied(scope, principal)
            raise
        return principal

    def _watching(self, scope: Scope, principal: Principal, send: Send) -> Send:
        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == NotPermitted.status:
                self._on_denied(scope, principal)
            await send(message)

        return watched

    def _principal(self, scope: Scope) -> Principal:
        if found := _APPROVAL_LINK.fullmatch(scope["path"]):
            return self._linked(scope, found["token"])
        presented = _presented_key(scope)
        if presented is None and not self._keyring.is_open:
            stream = _EVENT_STREAM.fullmatch(scope["path"])
            token = _token(scope) if stream and scope["method"] == "GET" else None
            if stream and token:
                return self._tokens.verify(token, stream["id"])
        return self._keyring.authenticate(presented)

    def _linked(self, scope: Scope, token: str) -> Principal:
        """Whose answer the link gives. No other credential counts here, so that nobody answers in two names."""
        link = self._links.verify(token)
        principal = self._keyring.find(link.tenant_id, link.key_id)
        if principal is None:
            raise NotAuthenticated("the key that this link is for is no longer one")
        scope["state"]["approval_link"] = link
        return principal


def _presented_key(scope: Scope) -> str | None:
    bearer = None
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            return _text(value)
        if name == b"authorization":
            scheme, _, credentials = _text(value).partition(" ")
            bearer = credentials.strip() if scheme.lower() == "bearer" else ""
    return bearer


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _token(scope: Scope) -> str | None:
    query = scope.get("query_string", b"").decode("latin-1")
    return parse_qs(query).get("token", [None])[0] if len(query) <= 4096 else None


def require(principal: Principal, action: Action) -> None:
    """Raises `NotPermitted` when the principal's role does not allow ``action``."""
    if not may(principal.role, action):
        raise NotPermitted(f"a {principal.role} may not {action} here; use a key with another role")


async def current_principal(request: Request) -> Principal:
    principal: Principal = request.state.principal
    return principal


async def administrator(request: Request) -> Principal:
    """Like `current_principal`, for routes that only an admin may call."""
    principal = await current_principal(request)
    require(principal, Action.ADMINISTER)
    return principal


CurrentPrincipal = Annotated[Principal, Depends(current_principal)]
CurrentAdministrator = Annotated[Principal, Depends(administrator)]
