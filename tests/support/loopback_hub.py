"""A Hugging Face hub on the loopback interface: as much of its protocol as `datasets` needs for a data repository."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"

# repository -> path -> content
Repositories = dict[str, dict[str, bytes]]


@contextmanager
def serving(repositories: Repositories) -> Iterator[str]:
    """Serve data repositories; yields the address for HF_ENDPOINT."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            self._answer(*_response(repositories, self.path, []))

        def do_HEAD(self) -> None:
            self._answer(*_response(repositories, self.path, []), body=False)

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer(*_response(repositories, self.path, json.loads(sent).get("paths", [])))

        def _answer(self, status: int, headers: dict[str, str], content: bytes, body: bool = True) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _response(repositories: Repositories, target: str, paths: list[str]) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and content for a request's path; ``paths`` are those that a paths-info request lists."""
    parts = [unquote(part) for part in urlparse(target).path.strip("/").split("/")]
    api = parts[0] == "api"
    parts = parts[1:] if api else parts
    if parts[0] != "datasets" or len(parts) < 3 or "/".join(parts[1:3]) not in repositories:
        return 404, {"X-Error-Code": "RepoNotFound"}, b""
    name = "/".join(parts[1:3])
    files = repositories[name]
    action, rest = (parts[3] if len(parts) > 3 else ""), "/".join(parts[5:])
    if not api and action == "resolve":
        if rest not in files:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b""
        return 200, {"ETag": f'"{_oid(files[rest])}"', "X-Repo-Commit": COMMIT}, files[rest]
    if action in ("", "revision"):
        siblings = [{"rfilename": path} for path in files]
        return _json({"id": name, "sha": COMMIT, "private": False, "gated": False, "tags": [], "siblings": siblings})
    if action == "tree":
        inside = rest + "/" if rest else ""
        found = [path for path in files if path.startswith(inside)]
        if rest and not found:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        folders = dict.fromkeys(inside + path[len(inside) :].split("/")[0] for path in found)
        listed = [_entry(path, files[path]) for path in folders if path in files]
        return _json(
            listed + [{"type": "directory", "path": path, "oid": COMMIT} for path in folders if path not in files]
        )
    if action == "paths-info":
        return _json([_entry(path, files[path]) for path in paths if path in files])
    return 404, {}, b""


def _json(document: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(document).encode()


def _entry(path: str, content: bytes) -> dict[str, object]:
    return {"type": "file", "path": path, "size": len(content), "oid": _oid(content)}


def _oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
