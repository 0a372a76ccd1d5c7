"""GitHub workflows under act, on the host and offline.

`uses: owner/name@ref` is served from `actions/name`, whatever the ref: stand-ins that keep the protocol real
by going through GitHub's own npm clients to act's own cache and artifact servers.

Traps of act 0.2.89 that this file works around, or that a test must know:

- it exits 0 although a job failed whose dependents were skipped, and colours its text: `--json` is read;
- its artifact server does not know `mime_type` and wants a signature's base64 padding: `_Shim` mends both;
- every `owner/name@ref` must be mapped one by one (`--local-repository`), as written in the workflow;
- it takes `ACTIONS_RUNTIME_URL` from its own environment, not from `--env`;
- it ignores `on.*.paths`, job `timeout-minutes`, job `continue-on-error`, `concurrency` and `permissions`;
- steps inherit its whole environment on the host: it is started with a small one;
- it asks for Docker's socket even for jobs on the host, unless `--container-daemon-socket -` is given.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.harness import process
from tests.e2e.harness.tools import Tools

ACTIONS = Path(__file__).with_name("actions")
_SPOKEN = re.compile(r"\s*(❗|🚧|💬|⚙\s+Summary - )")
_USES = re.compile(r"uses:\s*([\w.-]+)/([\w.-]+)(?:/[\w./-]+)?@([\w.-]+)")


@dataclass(frozen=True, slots=True)
class Job:
    """`result` is `success` or `failure`; `log` is what its steps printed, errors and summaries too."""

    id: str
    result: str
    log: str


@dataclass(frozen=True, slots=True)
class WorkflowRun:
    """`jobs` that began, by id (a skipped job is not among them); `artifacts` maps a name to its zip file."""

    ok: bool
    jobs: dict[str, Job]
    artifacts: dict[str, Path]
    output: str

    def log(self) -> str:
        return "\n".join(job.log for job in self.jobs.values())


class GitHub:
    """One repository at the service: its caches live on between runs, under `state`.

    `labels` are those of runners of its own, beside the hosted ones.
    """

    def __init__(self, tools: Tools, repository: Path, state: Path, labels: tuple[str, ...] = ()) -> None:
        self.tools = tools
        self.repository = repository
        self.state = state
        self.labels = labels
        self.runs = 0

    def run(
        self,
        event: str,
        workflow: str | None = None,
        *,
        payload: Mapping[str, object] | None = None,
        inputs: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        timeout: float = 600,
    ) -> WorkflowRun:
        """Runs the workflows that `event` starts, or `workflow` (a file name) only, at the commit of HEAD."""
        self.runs += 1
        folder = self.state / f"run{self.runs}"
        folder.mkdir(parents=True)
        event_file = folder / "event.json"
        event_file.write_text(json.dumps(payload or {}))
        artifacts = folder / "artifacts"
        port = process.free_port()
        command = [
            str(self.tools.program("act")),
            event,
            "--json",
            "--no-skip-checkout",
            "--action-offline-mode",
        ]
        for label in ("ubuntu-latest", *self.labels):
            command += ["-P", f"{label}=-self-hosted"]
        command += ["-e", str(event_file)]
        command += ["--container-daemon-socket", "-", "--defaultbranch", "main"]
        if workflow:
            command += ["-W", f".github/workflows/{workflow}"]
        for name, value in (inputs or {}).items():
            command += ["--input", f"{name}={value}"]
        for name, value in (secrets or {}).items():
            command += ["-s", f"{name}={value}"]
        variables = {
            "NODE_PATH": str(self.tools.node_modules),
            "STUB_REMOTE": self.repository.as_uri(),
            "RUNNER_ENVIRONMENT": "github-hosted",
            **(env or {}),
        }
        for name, value in variables.items():
            command += ["--env", f"{name}={value}"]
        for source in self._actions():
            command += ["--local-repository", source]
        command += ["--cache-server-addr", "127.0.0.1", "--cache-server-path", str(self.state / "cache")]
        command += ["--artifact-server-addr", "127.0.0.1", "--artifact-server-port", str(port)]
        command += ["--artifact-server-path", str(artifacts)]
        surroundings = self.tools.environment(self.state / "home")
        with _shim(port) as shim:
            surroundings |= {
                "XDG_CACHE_HOME": str(self.state / "xdg"),
                "ACTIONS_RUNTIME_URL": f"http://127.0.0.1:{shim}/",
            }
            done = process.run(command, cwd=self.repository, env=surroundings, timeout=timeout)
        jobs = _jobs(done.stdout)
        found = {path.stem: path for path in sorted(artifacts.rglob("*.zip"))}
        ok = done.returncode == 0 and bool(jobs) and all(job.result != "failure" for job in jobs.values())
        return WorkflowRun(ok, jobs, found, done.stdout + done.stderr)

    def _actions(self) -> list[str]:
        found = set()
        for file in sorted((self.repository / ".github" / "workflows").iterdir()):
            for owner, name, ref in _USES.findall(file.read_text()):
                if not (ACTIONS / name).is_dir():
                    raise LookupError(f"{file.name} uses {owner}/{name}, for which {ACTIONS} has no stand-in")
                found.add(f"{owner}/{name}@{ref}={ACTIONS / name}")
        return sorted(found)


def _jobs(output: str) -> dict[str, Job]:
    logs: dict[str, list[str]] = {}
    results: dict[str, str] = {}
    for line in output.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        job = entry.get("jobID") if isinstance(entry, dict) else None
        if not job:
            continue
        log = logs.setdefault(job, [])
        # Only what steps printed: act repeats each step's script when it starts and ends.
        if entry.get("raw_output") or _SPOKEN.match(entry["msg"]):
            log.append(entry["msg"].rstrip("\n"))
        if "jobResult" in entry:
            results[job] = entry["jobResult"]
    return {job: Job(job, results.get(job, "failure"), "\n".join(lines)) for job, lines in logs.items()}


@contextlib.contextmanager
def _shim(artifact_port: int) -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Shim", (_Shim,), {"artifact_port": artifact_port})
    )
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Shim(http.server.BaseHTTPRequestHandler):
    """A proxy before act's artifact server that mends what current clients and that server disagree on."""

    protocol_version = "HTTP/1.1"
    artifact_port = 0
    _OWN = ("transfer-encoding", "content-length", "connection")

    def _forward(self) -> None:
        body = self._body()
        if self.path.startswith("/twirp/") and "json" in (self.headers.get("Content-Type") or ""):
            request = json.loads(body or b"{}")
            request.pop("mime_type", None)
            request.pop("mimeType", None)
            body = json.dumps(request).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.artifact_port, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in self._OWN}
        try:
            connection.request(self.command, _padded(self.path), body, headers)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as failure:
            self.send_error(502, f"act's artifact server: {failure}")
            return
        finally:
            connection.close()
        self.send_response(response.status)
        for k, v in response.getheaders():
            if k.lower() not in self._OWN:
                self.send_header(k, v)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_HEAD = do_DELETE = _forward  # noqa: N815

    def _body(self) -> bytes:
        if "chunked" not in (self.headers.get("Transfer-Encoding") or ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().strip(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: a test's output is the executor's."""


def _padded(path: str) -> str:
    """Gives `sig=` the base64 padding back that clients strip."""

    def pad(found: re.Match[str]) -> str:
        value = found[2].rstrip("=")
        return found[1] + value + "%3D" * (-len(value) % 4)

    return re.sub(r"([?&]sig=)([\w-]+=*)", pad, path)
