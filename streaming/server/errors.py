"""Errors in the shape that OpenAI's clients read: `{"error": {message, type, param, code}}`."""

import logging
import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

log = logging.getLogger(__name__)

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ErrorFields(BaseModel):
    """Why a request is refused."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The answer to a request that is refused."""

    error: ErrorFields


class ApiError(Exception):
    """A request that is refused; the message is for the client.

    Args:
        status: of HTTP.
        message: what is wrong, and the mend.
        code: a word for programs.
        param: the field at fault.
        retry_after: seconds after which it may be tried again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(_writable(message))
        self.status = status
        self.code = code
        self.param = None if param is None else _writable(param)
        self.retry_after = retry_after

    @property
    def body(self) -> dict[str, Any]:
        """The answer's JSON."""
        kind = _TYPES.get(self.status)
        if kind is None:
            kind = "invalid_request_error" if self.status < 500 else "server_error"
        fields = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return {"error": fields}

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer."""
        found = {}
        if self.retry_after is not None:
            found["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        if self.status == 401:
            found["WWW-Authenticate"] = "Bearer"
        return found


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """Return the error of a request that asks for what cannot be."""
    return ApiError(400, message, code=code, param=param)


def unknown_model(name: str, known: list[str], status: int = 404) -> ApiError:
    """Return the error of a model that is not served."""
    names = ", ".join(known) or "none"
    return ApiError(
        status,
        f"no model {shown(name)} does this here: expected {names}; GET /v1/models lists all",
        code="model_not_found",
        param="model",
    )


def busy(what: str, retry_after: float) -> ApiError:
    """Return the error of a server that has no room now."""
    return ApiError(
        503, f"{what}: try again in a moment", code="server_busy", retry_after=retry_after
    )


def unexpected() -> ApiError:
    """Return what a client is told of an error that nobody foresaw; the log has the rest."""
    return ApiError(500, "the server failed at this request: its log says why", code="server_error")


def shown(text: str) -> str:
    """Return a client's text fit for one line of a message."""
    return repr(text[:80] + ("..." if len(text) > 80 else ""))


def _writable(text: str) -> str:
    """Return text that UTF-8 can hold: halves of characters come in through escapes of JSON."""
    return text.encode(errors="backslashreplace").decode()


def answer(error: ApiError) -> JSONResponse:
    """Return the error as an answer."""
    return JSONResponse(error.body, error.status, headers=error.headers)


def install(app: FastAPI) -> None:
    """Make the app answer every error in this shape."""

    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ApiError)
        return answer(error)

    async def malformed(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        found = error.errors()[0]
        place = str(found["loc"][1]) if len(found["loc"]) > 1 else None
        where = f"{place}: " if place else ""
        return answer(invalid(f"{where}{found['msg']}", place, "invalid_parameter"))

    async def http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        answered = answer(ApiError(error.status_code, str(error.detail)))
        answered.headers.update(error.headers or {})
        return answered

    async def failed(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, shown(request.url.path), exc_info=error)
        return answer(unexpected())

    app.add_exception_handler(ApiError, refused)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, failed)
