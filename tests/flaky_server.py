"""A web server on this machine that fails as told."""

import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LONGEST_HANG = 20  # seconds


class FlakyServer(ThreadingHTTPServer):
    """Serves the paths in `pages`; every request is listed in `requests` with its Range header.

    A page is its content and a list of behaviours. Each request takes the next, and the last stays. A behaviour is a
    word, or a word and a number:

    serve             the content, or the part of it that Range asks for
    whole             the whole content, whatever Range says
    drop N            as serve, but the connection is closed after N bytes
    reset N           the same, but it is broken
    more N            as serve, but N more bytes are announced than are sent
    hang N            as serve, but nothing more is sent after N bytes, until `released` is set; then the rest
    whole_drop N      as whole, closed after N bytes
    silent            as whole, without Content-Length
    silent_drop N     the same, closed after N bytes
    chunked           as whole, in chunks
    chunked_drop N    the same, closed after N bytes
    wrong             as serve, but other bytes
    elsewhere         as serve, but another part than asked for
    page              a web page that says that all is well
    empty             nothing
    close             the connection is closed without an answer
    redirect PATH     another path is named
    status N          that status, such as 404, 416 or 503
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages: dict[str, tuple[bytes, list]] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.released = threading.Event()
        self.lock = threading.Lock()

    def add(self, path: str, content: bytes, *behaviours: str | tuple) -> str:
        """Add a page; returns its address."""
        self.pages[path] = content, list(behaviours) or ["serve"]
        return f"http://127.0.0.1:{self.server_port}{path}"

    def next_behaviour(self, path: str, wanted: str | None) -> tuple[bytes, str, Any]:
        """Note a request; return the page's content, the kind of its next behaviour, and a number for that."""
        with self.lock:
            self.requests.append((path, wanted))
            content, behaviours = self.pages[path]
            behaviour = behaviours.pop(0) if len(behaviours) > 1 else behaviours[0]
        return content, *(behaviour if isinstance(behaviour, tuple) else (behaviour, None))

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients may go away."""


class Handler(BaseHTTPRequestHandler):
    """Answers each request as the server's next behaviour for its page says."""

    server: FlakyServer

    def do_GET(self) -> None:
        """Answer a request for a page."""
        content, kind, number = self.server.next_behaviour(self.path, self.headers["Range"])
        if kind == "redirect":
            self.send_response(302)
            self.send_header("Location", number)
            self.end_headers()
        elif kind == "status":
            self.send_error(number)
        elif kind == "page":
            self.answer(200, [("Content-Type", "text/html")], b"<html>all is well</html>")
        elif kind.startswith("silent"):
            self.answer(200, [], content[:number])
        elif kind.startswith("chunked"):
            self.answer(200, [("Transfer-Encoding", "chunked")], b"")
            self.send_chunks(content[:number])
            if number is None:
                self.wfile.write(b"0\r\n\r\n")
        elif kind != "close":
            self.serve(content, kind, number)

    def serve(self, content: bytes, kind: str, number: int | None) -> None:
        """Send the content, or from a byte on if that is asked for, with the fault `kind`, after `number` bytes."""
        if kind == "wrong":
            content = bytes(255 - byte for byte in content)
        if kind == "empty":
            content = b""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        first = int(asked[1]) if asked and not kind.startswith("whole") else 0
        if first and first >= len(content):
            self.send_error(416)
            return
        headers, status = [], 200
        if first:
            first -= kind == "elsewhere"
            headers, status = [("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")], 206
        body = content[first:]
        length = len(body) + (number if kind == "more" and number else 0)
        sent = body if kind == "more" else body[:number]
        self.answer(status, [*headers, ("Content-Length", str(length))], sent)
        if kind == "reset":
            # With this, closing breaks the connection rather than end it.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        if kind == "hang":
            self.server.released.wait(LONGEST_HANG)
            self.wfile.write(body[number:])

    def send_chunks(self, body: bytes) -> None:
        """Send a body in chunks of 700 bytes, without the end mark."""
        for start in range(0, len(body), 700):
            chunk = body[start : start + 700]
            self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")

    def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Send status, headers and body, and close the connection afterwards."""
        # Chunks need this version.
        self.protocol_version = "HTTP/1.1"
        self.send_response(status)
        for name, value in [*headers, ("Connection", "close")]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def flaky_server() -> Iterator[FlakyServer]:
    """A server that runs as long as the test."""
    server = FlakyServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        thread.join()
        server.socket.close()
