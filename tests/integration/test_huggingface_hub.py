"""Models by id, against a hub on this machine that speaks the part of the Hugging Face hub's protocol that is used."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"

pytestmark = [pytest.mark.model, pytest.mark.slow]


class Hub(http.server.ThreadingHTTPServer):
    """Serves one repository, owner/name, with the branch main and the tag v1; closed/name asks for a permission."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        # The paths of all files that were sent.
        self.sent: list[str] = []


class Handler(http.server.BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:  # the base class's name
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0].lstrip("/")
        if path.startswith("api/models/closed/name"):
            return self.refuse(403, "GatedRepo")
        if not path.startswith(("api/models/owner/name/", "owner/name/")):
            return self.refuse(404, "RepoNotFound")
        what, revision, *rest = path.removeprefix("api/models/").removeprefix("owner/name/").split("/")
        if revision not in ("main", "v1", COMMIT):
            return self.refuse(404, "RevisionNotFound")
        files = sorted(file.name for file in self.server.folder.iterdir())
        if what == "revision":
            return self.send({"id": "owner/name", "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]})
        if what == "tree":
            return self.send([{"type": "file", "path": name, "oid": "0", "size": 1} for name in files])
        if rest[0] not in files:
            return self.refuse(404, "EntryNotFound")
        content = (self.server.folder / rest[0]).read_bytes()
        if self.command == "GET":
            self.server.sent.append(rest[0])
        return self.send(content, ETag=f'"{hashlib.sha256(content).hexdigest()}"', **{"X-Repo-Commit": COMMIT})

    def refuse(self, status: int, code: str) -> None:
        self.send({"error": code}, status, **{"X-Error-Code": code, "X-Error-Message": code})

    def send(self, body: Any, status: int = 200, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    import torch

    from evalkit.models import tiny

    folder = tmp_path_factory.mktemp("repository")
    tiny.model(torch.float32).save_pretrained(folder, max_shard_size="500KB")
    tokenizer = resources.files("evalkit.models.tiny").joinpath("tokenizer.json").read_text(encoding="utf-8")
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    for unwanted in ("pytorch_model.bin", "consolidated.safetensors", "README.md", "model.gguf"):
        (folder / unwanted).write_text("not to be downloaded")
    server = Hub(folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


CODE = """
import json
from evalkit.errors import ModelError
from evalkit.models.openmind import OpenMindLM

def outcome(name, revision=None):
    try:
        record = OpenMindLM(name, revision=revision, device="cpu", loader="transformers").describe()
    except ModelError as error:
        return str(error)
    return [record["origin"], record["revision"], record["model_fingerprint"]]

print("RESULT" + json.dumps([outcome(*case) for case in CASES]))
"""


def outcomes(cases: list[tuple[str, ...]], home: Path, endpoint: str, **environment: str) -> list[Any]:
    """Load each (name, revision) in a process of its own, since huggingface_hub reads its settings once."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE_"))}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE.replace("CASES", repr(cases))],
        env={**clean, "PYTHONPATH": str(ROOT), "HF_HOME": str(home), "HF_ENDPOINT": endpoint, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result: list[Any] = json.loads(done.stdout.split("RESULT")[1])
    return result


def test_models_by_id(hub: Hub, tmp_path: Path) -> None:
    from evalkit.models import fingerprint

    loaded = ["huggingface hub", COMMIT, fingerprint.of_folder(hub.folder)]
    main, tag, unknown, revision, closed = outcomes(
        [("owner/name",), ("owner/name", "v1"), ("owner/unknown",), ("owner/name", "v9"), ("closed/name",)],
        tmp_path,
        hub.url,
    )
    assert main == tag == loaded
    assert unknown == (
        f"owner/unknown: no such folder here and no such model on {hub.url}; "
        "check the spelling, or set HF_TOKEN if it is private"
    )
    assert revision == "owner/name: the repository has no revision 'v9'; check its branches and commits"
    assert closed == f"closed/name: access to this repository is closed; accept its terms on {hub.url} and set HF_TOKEN"
    weights = {name for name in hub.sent if name.endswith((".safetensors", ".bin", ".gguf"))}
    assert weights == {file.name for file in hub.folder.glob("model-*.safetensors")}
    assert "README.md" not in hub.sent

    # What is there now is enough, with the network gone or not wanted.
    nowhere = "http://127.0.0.1:9"
    cached, uncached = outcomes([("owner/name",), ("owner/other",)], tmp_path, nowhere)
    assert cached == loaded
    assert uncached.startswith(f"owner/other: no such folder here, not in the cache {tmp_path}")
    assert f"and {nowhere} cannot be reached; give a local folder, or set HF_ENDPOINT to a mirror" in uncached
    cached, uncached = outcomes([("owner/name",), ("owner/other",)], tmp_path, hub.url, HF_HUB_OFFLINE="1")
    assert cached == loaded
    assert "and HF_HUB_OFFLINE is set; give a local folder" in uncached
