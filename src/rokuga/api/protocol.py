"""HTTP/1.1 with a deadline for the request's header, which uvicorn lacks: a client that sends nothing would hold a connection for ever."""

import asyncio
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from rokuga.api.endpoint import ARRIVE_SECONDS, BEGAN, unread
from rokuga.words import Words

CLOSE_SECONDS = 0.5
"""for an idle connection to close, when the server ends"""
HEADER_BYTES = 64 * 1024
"""of a request's header; also a GET's parameters stand in it"""
NO_HTTP = Words("This is no HTTP request. Send a well-formed one.")
LARGE_HEADER = Words("The request's header must have at most {most} bytes. Send the parameters in the body of a POST.", most=HEADER_BYTES)


class TimedProtocol(H11Protocol):
    """Closes a connection whose request header is not complete ARRIVE_SECONDS after it was opened or the request's first byte came."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn declares it
        super().connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        if self._deadline is None and self.conn.their_state is h11.IDLE:
            self._arm()
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._disarm()

    def eof_received(self) -> bool | None:  # type: ignore[override] # as asyncio means it
        """A client that has closed its half after a complete request still gets its answer, the connection's last."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body or self.scheme == "https":
            return None
        cycle.keep_alive = False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, or has too large a header, gets the envelope as well."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
            return
        error = sys.exception()
        large = isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431
        body = unread("RequestSizeLimitExceeded", LARGE_HEADER) if large else unread("InvalidRequest", NO_HTTP)
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        events = [h11.Response(status_code=200, headers=headers, reason="OK"), h11.Data(data=body), h11.EndOfMessage()]
        self.transport.write(b"".join(self.conn.send(event) or b"" for event in events))
        self.transport.close()

    def shutdown(self) -> None:
        super().shutdown()
        if self.transport.is_closing():
            # Over TLS a close waits for the client's own, which an idle one never sends.
            self.loop.call_later(CLOSE_SECONDS, self.transport.abort)

    def _arm(self) -> None:
        # uvicorn copies this into the request's scope; the dictionary it came with is shared by all connections.
        state: dict[str, Any] = {**self.app_state, BEGAN: self.loop.time()}
        self.app_state = state
        self._deadline = self.loop.call_later(ARRIVE_SECONDS, self.transport.close)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
