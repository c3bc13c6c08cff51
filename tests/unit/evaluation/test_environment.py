"""What the record says about versions and machine, and what it leaves out."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import pytest

from evalkit import __version__
from evalkit.evaluation import environment
from evalkit.evaluation.environment import (
    code_revision,
    describe_environment,
    driver_versions,
    package_versions,
    public_address,
    without_secrets,
)
from evalkit.records.facts import Code

pytestmark = pytest.mark.torch_free


def test_versions_of_what_is_installed() -> None:
    versions = package_versions()
    assert versions["evalkit"] == __version__
    assert versions["python"] == platform.python_version()
    assert "numpy" in versions
    assert None not in versions.values()


def test_secrets_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy")
    monkeypatch.setenv("HF_ENDPOINT", "https://user:secret@mirror.example/hub")
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "0,1")
    described = describe_environment()
    assert "secret" not in str(described)
    assert described.variables["HF_ENDPOINT"] == "https://mirror.example/hub"
    assert described.variables["ASCEND_RT_VISIBLE_DEVICES"] == "0,1"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@x"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_and_whether_there_are_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = tmp_path / "evalkit" / "evaluation"
    room.mkdir(parents=True)
    module = room / "environment.py"
    module.write_text("")
    monkeypatch.setattr(environment, "__file__", str(module))
    assert code_revision() == Code()
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "m")
    assert code_revision() == Code(commit=git(tmp_path, "rev-parse", "HEAD"), dirty=False)
    module.write_text("changed")
    assert code_revision().dirty is True


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "evalkit" / "evaluation" / "environment.py"))
    monkeypatch.setenv("PATH", "")
    assert code_revision() == Code()


def test_drivers_are_read_from_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat\nGCC 12",
        "/usr/local/Ascend/driver/version.info": "Version=24.1.rc3\nascendhal_version=7.35\n",
        str(tmp_path / "version.cfg"): "# CANN\ntoolkit_running_version=[8.0.RC3:8.0.RC3]\n",
    }

    def read_text(path: Path, **_: object) -> str:
        if str(path) not in files:
            raise FileNotFoundError(path)
        return files[str(path)]

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setenv("ASCEND_TOOLKIT_HOME", str(tmp_path))
    assert driver_versions() == {
        "nvidia_driver": "535.104.05",
        "ascend_driver": "24.1.rc3",
        "cann": "8.0.RC3:8.0.RC3",
    }
    files["/usr/local/Ascend/driver/version.info"] = "nothing known"
    assert "ascend_driver" not in driver_versions()


def test_commands_are_recorded_without_secrets() -> None:
    command = ["evalkit", "run", "--model", "https://me:pass@hub.example/m", "x=hf_abcdefghij", "a=1,token=abc,b=2"]
    assert without_secrets(command) == [
        *command[:3],
        "https://hub.example/m",
        "x=***",
        "a=1,token=***,b=2",
    ]


@pytest.mark.parametrize(
    "address",
    ["https://me:secret@h/v1", "https://h/v1?token=secret", "https://h/v1?a=1&api-key=secret", "https://h/v1#secret"],
)
def test_an_address_is_shown_without_what_may_be_a_secret(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert public_address(address) == "https://h/v1"
    assert "secret" not in str(without_secrets(["evalkit", "run", "--model", address, f"x={address}"]))
    monkeypatch.setenv("HF_ENDPOINT", address)
    assert describe_environment().variables["HF_ENDPOINT"] == "https://h/v1"
