"""Signing in with an API key, so that a browser may see the pages and call the routes of a server that asks for keys."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import parse_qsl

from litestar import Response, get, post
from litestar.datastructures import Cookie
from litestar.handlers import BaseRouteHandler
from litestar.response import Redirect

from serve.api.bodies import Call, read_bytes
from serve.api.problems import ProblemError
from serve.api.protection import COOKIE, SIGNED_IN_FOR, Guesser, digest, over_https, same_origin
from serve.pages.site import Site

OPEN = {"open": True}
MAX_FIELDS = 10
logger = logging.getLogger("serve")


def cookie(request: Call, value: str, seconds: int) -> Cookie:
    """The sign-in cookie: scripts do not see it, and other sites' pages do not send it."""
    root = request.app.state.settings.root_path
    return Cookie(
        COOKIE, value=value, max_age=seconds, httponly=True, samesite="strict", secure=over_https(request), path=root or "/"
    )


def local(address: str, root: str) -> str:
    """An address within this server, or that of the home page: a link to the sign-in must not lead elsewhere."""
    own = address.startswith(f"{root}/") and not address.startswith(("//", "/\\")) and address.isprintable()
    return address if own else f"{root}/"


def handlers(site: Site) -> list[BaseRouteHandler]:
    """`/sign-in` and `/sign-out`."""

    def form(next_page: str, *, refused: bool = False) -> Response[Any]:
        return site.page(
            "sign_in.html", status=401 if refused else 200, next=next_page, refused=refused, hours=SIGNED_IN_FOR // 3600
        )

    @get("/sign-in", opt=OPEN)
    async def ask(request: Call) -> Response[Any]:
        if not site.service.settings.api_keys:
            return Redirect(f"{site.root}/", status_code=303)
        return form(local(request.query_params.get("next", ""), site.root))

    @post("/sign-in", opt=OPEN)
    async def sign_in(request: Call) -> Response[Any]:
        refuse_strangers(request)
        settings = site.service.settings
        given = read_form(await read_bytes(request, settings.max_form))
        guesser = Guesser(request)
        key, next_page = given.get("key", "").strip(), local(given.get("next", ""), site.root)
        found = digest(key)
        name = settings.key_names.get(found)
        if name is None:
            guesser.failed(key, "wrong key at the sign-in")
            return form(next_page, refused=True)
        logger.info("signed in with key %s from %s", name, guesser.address)
        session = request.app.state.sessions.open(found)
        return Redirect(next_page, status_code=303, cookies=[cookie(request, session, SIGNED_IN_FOR)])

    @post("/sign-out", opt=OPEN)
    async def sign_out(request: Call) -> Response[Any]:
        refuse_strangers(request)
        request.app.state.sessions.close(request.cookies.get(COOKIE, ""))
        return Redirect(f"{site.root}/sign-in", status_code=303, cookies=[cookie(request, "", 0)])

    return [ask, sign_in, sign_out]


def read_form(body: bytes) -> dict[str, str]:
    """The fields of a form that a browser has sent; ProblemError 400 for what is none of the sign-in's."""
    try:
        return dict(parse_qsl(body.decode(), max_num_fields=MAX_FIELDS))
    except ValueError:  # UnicodeDecodeError is one
        raise ProblemError(400, f"The form is not UTF-8, or has more than {MAX_FIELDS} fields.") from None


def refuse_strangers(request: Call) -> None:
    """ProblemError 403 for a form of another site: nobody is signed in with another's key, or signed out by another site."""
    if not same_origin(request):
        raise ProblemError(403, "This form was sent from another site; open the page of this server and try again.")
