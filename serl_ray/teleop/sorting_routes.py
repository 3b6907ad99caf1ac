"""The hub's requests for a sorter: operators sort, viewers look, and devices have no part in it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from aiohttp import hdrs, web

from serl_ray.teleop.events import ClientRole
from serl_ray.teleop.keys import HubKeys
from serl_ray.teleop.messages import is_text
from serl_ray.teleop.sorting import Sorter, SortingError, SortLabel, UnknownItemError
from serl_ray.teleop.throttle import delay_refusal
from serl_ray.teleop.wire import JPEG_MAGIC

MAX_BODY = 4096
"""Bytes of the longest request."""
BODY_SECONDS = 5.0
"""Seconds within which a request's body must come."""
BEARER = "Bearer "
Answer = TypeVar("Answer")


class SortingRoutes:
    """The requests `GET /sorting/items`, `GET /sorting/image/ITEM/CAMERA`, `POST /sorting/sort` with `{"id", "label"}`,
    `POST /sorting/undo` and `POST /sorting/finish`, with the secret in `Authorization: Bearer SECRET`.

    A refusal is a sentence, with status 400 (wrong request), 401 (wrong secret), 403 (not this role), 404 (no such
    item), 409 (not possible now), 413 (too long) or 500 (a file cannot be read or written). The sorter is called in
    threads, so that a slow disk does not keep the robots' messages waiting.

    Args:
        sorter: sorter that is asked.
        keys: secrets of the roles.
        refused: counter of refusals by reason.
    """

    def __init__(self, sorter: Sorter, keys: HubKeys, refused: Counter[str]) -> None:
        self._sorter, self._keys, self._refused = sorter, keys, refused
        self._one_at_a_time = asyncio.Lock()

    def routes(self) -> Iterable[web.RouteDef]:
        """The routes of the application."""
        return [
            web.get("/sorting/items", self._answered(self._items)),
            web.get("/sorting/image/{item}/{camera}", self._answered(self._image)),
            web.post("/sorting/sort", self._answered(self._sort)),
            web.post("/sorting/undo", self._answered(self._undo)),
            web.post("/sorting/finish", self._answered(self._finish)),
        ]

    def _answered(self, handler: Any) -> Any:
        """The handler for those who may ask, with a sentence in place of an error."""

        async def answer(request: web.Request) -> web.Response:
            if refusal := await self._refusal(request):
                return refusal
            try:
                response: web.Response = await handler(request)
                return response
            except UnknownItemError as error:
                return _refusal(404, str(error))
            except SortingError as error:
                return _refusal(409, str(error))
            except OSError as error:
                return _refusal(500, f"A file cannot be read or written: {error}")

        return answer

    async def _refusal(self, request: web.Request) -> web.Response | None:
        """The answer to somebody who may not ask this."""
        given = request.headers.get(hdrs.AUTHORIZATION, "")
        secret = given.removeprefix(BEARER) if given.startswith(BEARER) else ""
        roles = [role for role in ClientRole if self._keys.fits(role, secret)]
        if not roles:
            self._refused["secret"] += 1
            await delay_refusal()
            return _refusal(401, "The secret is wrong.")
        if roles == [ClientRole.DEVICE]:
            self._refused["role"] += 1
            return _refusal(403, "A device drives a robot, and may not look at what is sorted.")
        if request.method == hdrs.METH_POST and roles != [ClientRole.OPERATOR]:
            self._refused["role"] += 1
            return _refusal(403, "Operators alone may sort; you may look.")
        return None

    async def _items(self, request: web.Request) -> web.Response:
        body = await self._asked(self._described)
        tag = f'"{hashlib.sha256(body).hexdigest()}"'
        if request.headers.get(hdrs.IF_NONE_MATCH) == tag:
            return web.Response(status=304, headers={hdrs.ETAG: tag})
        return web.Response(body=body, content_type="application/json", headers={hdrs.ETAG: tag})

    def _described(self) -> bytes:
        items = [vars(item) for item in self._sorter.items()]
        described = {"explanation": self._sorter.explanation(), "finish": self._sorter.finish_label, "items": items}
        return json.dumps(described, allow_nan=False).encode()

    async def _image(self, request: web.Request) -> web.Response:
        image = await asyncio.to_thread(self._sorter.image, request.match_info["item"], request.match_info["camera"])
        kind = "image/jpeg" if image.startswith(JPEG_MAGIC) else "image/png"
        return web.Response(body=image, content_type=kind)

    async def _sort(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                fields = json.loads(await request.read())
        except (ValueError, RecursionError, TimeoutError):
            return _refusal(400, "The request is not JSON.")
        if not isinstance(fields, dict) or fields.keys() != {"id", "label"}:
            return _refusal(400, "The request is not an object of id and label.")
        if not is_text(fields["id"]) or fields["label"] not in list(SortLabel):
            return _refusal(400, f"The label is one of {', '.join(SortLabel)}, and the id a text.")
        await self._asked(self._sorter.sort, fields["id"], SortLabel(fields["label"]))
        return web.json_response({})

    async def _undo(self, request: web.Request) -> web.Response:
        return web.json_response({"id": await self._asked(self._sorter.undo)})

    async def _finish(self, request: web.Request) -> web.Response:
        await self._asked(self._sorter.finish)
        return web.json_response({})

    async def _asked(self, function: Callable[..., Answer], *args: Any) -> Answer:
        async with self._one_at_a_time:
            return await asyncio.to_thread(function, *args)


def _refusal(status: int, sentence: str) -> web.Response:
    return web.Response(status=status, text=sentence)
