"""Runs on somebody's cluster of Dask distributed: poisonous ones, and with encryption."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sweeps import DIES, children, end, rows, run, with_locks, write_bad_lock, write_study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to find processes"),
]

STARTS_S = 60.0
CERTIFICATES = """
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem &&
openssl req -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout own.key -out own.csr &&
openssl x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out own.pem &&
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=stranger -keyout other.key -out other.pem
"""


@contextmanager
def cluster(folder: Path, scheme: str, options: Sequence[str] = ()) -> Iterator[tuple[str, list[int]]]:
    """A scheduler and two workers without nannies; its address, and the workers' processes."""
    found = folder / "scheduler.json"
    common = ["--scheduler-file", str(found), "--no-dashboard", *options]
    where = ["--host", f"{scheme}://127.0.0.1:0"]
    workers = ["--no-nanny", "--nthreads", "1", "--local-directory", str(folder)]
    with ExitStack() as ended:
        _program(ended, folder, "scheduler", *common, *where)
        until = time.monotonic() + STARTS_S
        while not found.exists():
            assert time.monotonic() < until, (folder / "scheduler.log").read_text()
            time.sleep(0.05)
        pids = [_program(ended, folder, "worker", *common, *where, *workers) for _ in range(2)]
        address = next(
            word.strip('",') for word in found.read_text().split() if word.startswith(f'"{scheme}://')
        )
        yield address, pids


def _program(ended: ExitStack, folder: Path, name: str, *options: str) -> int:
    with (folder / f"{name}.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{name}", *options],
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    ended.callback(end, process)
    return process.pid


def test_a_poisonous_point_on_a_cluster_is_blamed_as_on_one_host(tmp_path: Path) -> None:
    """Dask's workers, which nobody would start again, live on, and nothing is left below them."""
    bad = write_bad_lock(tmp_path, DIES)
    study = write_study(tmp_path, [2, 3], 1, more=with_locks(["ticket", bad]))
    command: list[str | Path] = ["run", study, "--trust", "-q", "--out"]
    assert run(*command, tmp_path / "pool").returncode == 4
    with cluster(tmp_path, "tcp") as (address, workers):
        result = run(*command, tmp_path / "dask", "--dask", address)
        assert [children(pid) for pid in workers] == [[], []]
        for pid in workers:
            os.kill(pid, 0)

    assert result.returncode == 4, result.stderr
    assert "crashed: its process ended 2 times, at last by SIGKILL, with kernel.lock = " in result.stdout
    assert rows(tmp_path / "dask") == rows(tmp_path / "pool")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program to make certificates")
def test_an_encrypted_cluster_takes_those_with_its_certificates(tmp_path: Path) -> None:
    """With them the rows are those of one host; strangers and those without are refused."""
    subprocess.run(["bash", "-c", CERTIFICATES], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    ca, own, key = (str(tmp_path / name) for name in ("ca.pem", "own.pem", "own.key"))
    study = write_study(tmp_path, [1, 2], 1)
    assert run("run", study, "-q", "--out", tmp_path / "pool").returncode == 0
    tls = ["--tls-ca-file", ca, "--tls-cert", own, "--tls-key", key]
    with cluster(tmp_path, "tls", tls) as (address, _):
        command: list[str | Path] = ["run", study, "-q", "--dask", address, "--dask-tls-ca", ca]
        result = run(*command, "--dask-tls-cert", own, "--dask-tls-key", key, "--out", tmp_path / "dask")
        stranger = [str(tmp_path / name) for name in ("other.pem", "other.key")]
        others = run(*command, "--dask-tls-cert", stranger[0], "--dask-tls-key", stranger[1])
        missing = run(*command, "--dask-tls-cert", str(tmp_path / "none.pem"), "--dask-tls-key", key)
        plain = run("run", study, "-q", "--dask", address)
        open_port = run(*command[:4], address.replace("tls", "tcp"), *command[5:])

    assert result.returncode == 0, result.stderr
    assert rows(tmp_path / "dask") == rows(tmp_path / "pool")
    for refused in (others, missing, plain, open_port):
        assert refused.returncode == 2, refused.stderr
        assert refused.stderr.startswith("error: --dask"), refused.stderr
        assert "Traceback" not in refused.stderr
    assert "give --dask-tls-ca, --dask-tls-cert and --dask-tls-key" in plain.stderr
