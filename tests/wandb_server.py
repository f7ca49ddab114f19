"""A stand-in for the Weights & Biases server: what the real client needs, on this machine alone.

It answers the requests that wandb 0.31 sends (GraphQL, row streams, files, sweeps) and keeps what
it was told, so that tests can look at runs as the server saw them. Rows are kept by line number,
as the real server keeps them: a client that sends a row again as a new line is found out.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import matplotlib as mpl
import yaml

ENTITY = "researcher"
API_KEY = "0123456789abcdef0123456789abcdef01234567"
ROOT = Path(__file__).resolve().parents[1]
HISTORY = "wandb-history.jsonl"
SECONDS = 600
"""Longest that any client may take, on a machine that is busy with other things."""

Json = dict[str, Any]


@dataclass
class StoredRun:
    """A run as the server knows it."""

    number: int
    entity: str
    project: str
    id: str
    state: str = "running"
    exit_code: int | None = None
    name: str | None = None
    group: str | None = None
    job_type: str | None = None
    sweep: str | None = None
    tags: list[str] = field(default_factory=list)
    stored_config: Json = field(default_factory=dict)
    summary: Json = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    uploads: list[str] = field(default_factory=list)
    lines: dict[str, list[str]] = field(default_factory=dict)
    stopping: bool = False
    preempting: bool = False

    @property
    def config(self) -> Json:
        """The configuration as it was given, without what the client adds."""
        given = {key: entry["value"] for key, entry in self.stored_config.items()}
        given.pop("_wandb", None)
        return given

    @property
    def rows(self) -> list[Json]:
        """All rows of the history, in the order of their lines."""
        return [json.loads(line) for line in self.lines.get(HISTORY, [])]

    @property
    def storage_id(self) -> str:
        return base64.b64encode(f"Run:v1:{self.id}:{self.project}:{self.entity}".encode()).decode()


@dataclass
class StoredSweep:
    """A sweep: its file, and the points that no agent has been given yet."""

    entity: str
    project: str
    id: str
    text: str
    waiting: list[Json]
    stopping: bool = False
    preempted: list[str] = field(default_factory=list)

    @property
    def config(self) -> Json:
        content: Json = yaml.safe_load(self.text)
        return content


@dataclass
class Agent:
    """An agent of a sweep and the runs that it was told to start."""

    sweep: StoredSweep
    runs: list[str] = field(default_factory=list)


class Server:
    """A server of its own on a free port of the loopback device, until it is closed.

    Attributes:
        runs: by id.
        sweeps: by id.
        views: specifications of saved views, oldest first.
        operations: names of the GraphQL operations that were asked for, in order.
        downloads: id/name of the files that were fetched.
        errors: what the client did that a server would not expect: operations without an answer
            here, and streams that begin beyond the last line, so that rows are lost.
    """

    def __init__(self) -> None:
        self.runs: dict[str, StoredRun] = {}
        self.sweeps: dict[str, StoredSweep] = {}
        self.agents: list[Agent] = []
        self.views: list[Json] = []
        self.operations: list[str] = []
        self.errors: list[str] = []
        self.downloads: list[str] = []
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self._start(0)

    def _start(self, port: int) -> None:
        handler = type("Handler", (_Handler,), {"kept": self})
        self.connections: set[socket.socket] = set()
        self._http = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._http.daemon_threads = True
        self._address = self._http.server_address
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        end_all()
        self.close()

    def close(self) -> None:
        """Stop answering: connections are cut, and from now on refused."""
        self._http.shutdown()
        self._http.socket.close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)

    def restart(self) -> None:
        """Answer again, on the same port, with everything that was kept."""
        self._start(int(self._address[1]))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._address[1]}"

    def environment(self, home: Path) -> dict[str, str]:
        """Variables for a client that knows this server alone and writes below `home`."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("WANDB") and not name.lower().endswith("_proxy")
        }
        places = {
            name: str(home / folder)
            for name, folder in {
                "HOME": "",
                "WANDB_DIR": "",
                "WANDB_CONFIG_DIR": ".config",
                "WANDB_CACHE_DIR": ".cache",
                "WANDB_DATA_DIR": ".data",
                "WANDB_ARTIFACT_DIR": ".artifacts",
            }.items()
        }
        return {
            **inherited,
            **places,
            "MPLCONFIGDIR": mpl.get_cachedir(),  # a home of its own would list all fonts anew
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": API_KEY,
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL": "1",
            "WANDB_X_DISABLE_STATS": "true",
            "WANDB_AGENT_DISABLE_FLAPPING": "true",
            "NO_PROXY": "*",
            "OMP_NUM_THREADS": "1",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT),
        }

    def wait(self, met: Callable[[], bool], seconds: float = SECONDS) -> None:
        """Wait until what the server was told fulfils a condition.

        Raises:
            AssertionError: it does not within `seconds`.
        """
        with self.changed:
            assert self.changed.wait_for(met, seconds), f"not within {seconds} seconds"

    def add(self, project: str, name: str, folder: Path | None = None) -> StoredRun:
        """Keep a finished run, with the files of a run directory if it has one."""
        run = StoredRun(len(self.runs), ENTITY, project, name, state="finished", exit_code=0)
        for file in ("run.json", "config.yaml", "metrics.parquet", "layers.parquet"):
            if folder is not None:
                run.files[f"run_directory/{file}"] = (folder / file).read_bytes()
        self.runs[name] = run
        return run

    @property
    def run(self) -> StoredRun:
        """The only run."""
        [run] = self.runs.values()
        return run

    # What a client asks

    def answer(self, query: str, variables: Json) -> Json | None:
        """The data of one GraphQL operation; None for one that is not known here."""
        found = re.search(r"\b(?:query|mutation)\s+(\w+)", query)
        name = found[1] if found else ""
        handler = getattr(self, f"_on_{name}", None)
        with self.changed:
            self.operations.append(name)
            if handler is None:
                self.errors.append(f"no answer to {name or query}")
                return None
            data: Json = handler(variables)
            self.changed.notify_all()
            return data

    def _find(self, variables: Json, key: str = "name") -> StoredRun | None:
        return self.runs.get(variables.get(key) or "")

    def _on_Viewer(self, _: Json) -> Json:
        return {"viewer": _VIEWER}

    _on_GetViewer = _on_GetDefaultEntity = _on_Viewer

    def _on_ServerFeaturesQuery(self, _: Json) -> Json:
        return {"serverInfo": {"features": []}}

    def _on_OrganizationCoreWeaveOrganizationID(self, _: Json) -> Json:
        return {"entity": {"organization": {"coreWeaveOrganizationId": None}}}

    def _on_RunResumeStatus(self, variables: Json) -> Json:
        run = self._find(variables)
        project, entity = variables["project"], variables["entity"] or ENTITY
        bucket = _resume_status(run) if run and run.project == project else None
        model = {"id": "model", "name": project, "entity": {"id": "entity", "name": entity}}
        return {"model": {**model, "bucket": bucket}}

    def _on_UpsertBucket(self, given: Json) -> Json:
        with_id = [run for run in self.runs.values() if run.storage_id == given.get("id")]
        run = with_id[0] if with_id else self._find(given)
        inserted = run is None
        if run is None:
            run = StoredRun(
                len(self.runs),
                given.get("entity") or ENTITY,
                given.get("project") or "uncategorized",
                given["name"],
            )
            self.runs[run.id] = run
        run.state, run.exit_code = "running", None
        run.name = given.get("displayName") or run.name
        run.group = given.get("groupName") or run.group
        run.job_type = given.get("jobType") or run.job_type
        run.sweep = given.get("sweep") or run.sweep
        run.tags = run.tags if given.get("tags") is None else given["tags"]
        if given.get("config"):
            run.stored_config = json.loads(given["config"])
        if given.get("summaryMetrics"):
            run.summary = json.loads(given["summaryMetrics"])
        return {"upsertBucket": {"bucket": _bucket(run), "inserted": inserted}}

    def _on_CreateRunFiles(self, variables: Json) -> Json:
        base = f"{self.url}/storage/{variables['run']}"
        files = [{"name": name, "uploadUrl": f"{base}/{name}"} for name in variables["files"]]
        created = {"runID": variables["run"], "uploadHeaders": [], "files": files}
        return {"createRunFiles": created}

    # What wandb.Api asks

    def _on_Runs(self, variables: Json) -> Json:
        filters = json.loads(variables.get("filters") or "{}")
        chosen = [
            run
            for run in self.runs.values()
            if run.project == variables["project"] and _matches(run, filters)
        ]
        start = int(variables.get("cursor") or 0)
        page = chosen[start : start + (variables.get("perPage") or 50)]
        edges = [
            {"node": self._node(run), "cursor": str(start + number)}
            for number, run in enumerate(page, start=1)
        ]
        known = any(run.project == variables["project"] for run in self.runs.values())
        return {
            "project": {
                "internalId": 1,
                "runCount": len(chosen),
                "readOnly": False,
                "runs": {"edges": edges, "pageInfo": _page_info(edges, start, len(chosen))},
            }
            if known or variables["project"] in {each.project for each in self.sweeps.values()}
            else None
        }

    def _on_Run(self, variables: Json) -> Json:
        run = self._find(variables)
        return {"project": {"internalId": 1, "run": self._node(run) if run else None}}

    def _on_RunFiles(self, variables: Json) -> Json:
        run = self._find(variables)
        assert run is not None
        wanted = variables.get("fileNames") or list(run.files)
        edges = [
            {"node": self._file_node(run, name), "cursor": name}
            for name in wanted
            if name in run.files
        ]
        pages = _page_info(edges, 0, len(edges))
        listed = {"fileCount": len(run.files), "files": {"edges": edges, "pageInfo": pages}}
        return {"project": {"internalId": 1, "run": listed}}

    def _node(self, run: StoredRun) -> Json:
        return {
            "projectId": 1,
            "id": run.storage_id,
            "name": run.id,
            "displayName": run.name,
            "sweepName": run.sweep,
            "state": run.state,
            "config": json.dumps(run.stored_config),
            "group": run.group,
            "jobType": run.job_type,
            "tags": run.tags,
            "commit": None,
            "readOnly": False,
            "createdAt": "2026-01-01T00:00:00",
            "heartbeatAt": "2026-01-01T00:00:00",
            "description": None,
            "notes": None,
            "systemMetrics": "{}",
            "summaryMetrics": json.dumps(run.summary),
            "historyLineCount": len(run.rows),
            "user": {"name": ENTITY, "username": ENTITY},
            "historyKeys": None,
        }

    def _file_node(self, run: StoredRun, name: str) -> Json:
        content = run.files[name]
        url = f"{self.url}/storage/{run.id}/{name}"
        return {
            "id": f"{run.id}/{name}",
            "name": name,
            "url": url,
            "directUrl": url,
            "sizeBytes": len(content),
            "mimetype": "application/octet-stream",
            "updatedAt": "2026-01-01T00:00:00",
            "md5": base64.b64encode(hashlib.md5(content).digest()).decode(),
        }

    def _on_UpsertView2(self, given: Json) -> Json:
        self.views.append({**given, "spec": json.loads(given["spec"])})
        view = {"id": str(len(self.views)), "name": given["name"]}
        return {"upsertView": {"view": view, "inserted": True}}

    # Sweeps

    def _on_UpsertSweep(self, given: Json) -> Json:
        content = yaml.safe_load(given["config"])
        project = given.get("projectName") or content.get("project") or "uncategorized"
        entity = given.get("entityName") or ENTITY
        sweep = StoredSweep(
            entity, project, f"sweep{len(self.sweeps)}", given["config"], list(_points(content))
        )
        self.sweeps[sweep.id] = sweep
        place = {"id": "project", "name": project, "entity": {"id": "entity", "name": entity}}
        described = {"name": sweep.id, "project": place}
        return {"upsertSweep": {"sweep": described, "configValidationWarnings": []}}

    def _on_SweepWithRuns(self, variables: Json) -> Json:
        sweep = self.sweeps.get(variables["sweep"])
        return {"project": {"sweep": _describe(sweep) if sweep else None}}

    def _on_GetSweep(self, variables: Json) -> Json:
        sweep = self.sweeps.get(variables["name"])
        return {"project": {"sweep": _describe(sweep) if sweep else None}}

    def _on_CreateAgent(self, variables: Json) -> Json:
        self.agents.append(Agent(self.sweeps[variables["sweep"]]))
        return {"createAgent": {"agent": {"id": str(len(self.agents) - 1)}}}

    def _on_Heartbeat(self, variables: Json) -> Json:
        agent = self.agents[int(variables["id"])]
        alive = [name for name, runs in json.loads(variables["runState"]).items() if runs]
        commands = list(self._commands(agent, alive))
        beat = {"agent": {"id": variables["id"]}, "commands": json.dumps(commands)}
        return {"agentHeartbeat": beat}

    def _commands(self, agent: Agent, alive: list[str]) -> Iterator[Json]:
        for name in agent.runs:
            if name not in alive and self.runs[name].state in ("pending", "running"):
                self.runs[name].state = "crashed"
        for name in alive:
            if self.runs[name].stopping:
                yield {"type": "stop", "run_id": name}
        if alive:
            return
        if agent.sweep.preempted:
            yield self._again(agent)
            return
        if not agent.sweep.waiting:
            yield {"type": "exit"}
            return
        yield self._next_run(agent)

    def _next_run(self, agent: Agent) -> Json:
        sweep, number = agent.sweep, len(self.runs)
        run = StoredRun(number, sweep.entity, sweep.project, f"point{number}", state="pending")
        run.sweep = sweep.id
        self.runs[run.id] = run
        agent.runs.append(run.id)
        point = sweep.waiting.pop(0)
        run.stored_config = {key: {"value": point[key]} for key in sorted(point)}
        return {"type": "run", **self._about(run)}

    def _again(self, agent: Agent) -> Json:
        """A run that was preempted comes before any new one."""
        run = self.runs[agent.sweep.preempted.pop(0)]
        run.state = "pending"
        agent.runs.append(run.id)
        return {"type": "resume", **self._about(run)}

    def _about(self, run: StoredRun) -> Json:
        sweep = self.sweeps[run.sweep or ""]
        names = sweep.config["parameters"]
        arguments = {key: value for key, value in run.stored_config.items() if key in names}
        return {"run_id": run.id, "program": sweep.config.get("program"), "args": arguments}

    # Rows and files

    def stream(self, name: str, given: Json) -> Json:
        """Take a part of a run's rows, its summary, its end."""
        with self.changed:
            run = self.runs[name]
            for file, chunk in (given.get("files") or {}).items():
                self._take_lines(run, file, chunk["offset"], chunk["content"])
            run.preempting |= bool(given.get("preempting"))
            if given.get("complete"):
                self._end(run, given.get("exitcode"))
            self.changed.notify_all()
            return {"stopped": run.stopping, "limits": {}}

    def _end(self, run: StoredRun, exit_code: int | None) -> None:
        """A run that has failed is queued again where its machine was to blame."""
        run.exit_code = exit_code
        run.state = "failed" if exit_code else "finished"
        if exit_code and run.preempting:
            run.state = "preempted"
            self.sweeps[run.sweep or ""].preempted.append(run.id)
        run.preempting = False

    def _take_lines(self, run: StoredRun, file: str, offset: int, content: list[str]) -> None:
        if file == "wandb-summary.json":
            run.summary = json.loads(content[-1])
            return
        lines = run.lines.setdefault(file, [])
        if offset > len(lines):
            self.errors.append(f"{run.id} {file}: line {offset} after {len(lines)} lines")
        lines[offset : offset + len(content)] = content

    def store(self, path: str, content: bytes) -> None:
        """Keep a file of a run, in place of an older version."""
        name, _, file = path.partition("/")
        with self.changed:
            self.runs[name].files[file] = content
            self.runs[name].uploads.append(file)
            self.changed.notify_all()

    def stored(self, path: str) -> bytes:
        """A file of a run, for a client that downloads it."""
        self.downloads.append(path)
        name, _, file = path.partition("/")
        return self.runs[name].files[file]


STARTED: list[subprocess.Popen[str]] = []
"""Processes that may still run."""


def start(environment: dict[str, str], folder: Path, *command: str) -> subprocess.Popen[str]:
    """Start Python with a command, in a folder; it ends with the server at the latest."""
    process = subprocess.Popen(
        [sys.executable, *command],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    STARTED.append(process)
    return process


def wait_for(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, output and error output of a process."""
    output, errors = process.communicate(timeout=SECONDS)
    return process.returncode, output, errors


def end_all() -> None:
    """End what still runs: nicely, so that it ends what it has started in its turn."""
    running = [process for process in STARTED if process.poll() is None]
    STARTED.clear()
    for process in running:
        process.terminate()
    for process in running:
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def resnet_lab(
    environment: dict[str, str], folder: Path, *arguments: str, code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a command of the command line in a process of its own; it must end with `code`."""
    command = [sys.executable, "-m", "resnet_lab", *arguments]
    ended = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=SECONDS
    )
    assert ended.returncode == code, f"{ended.stdout}\n{ended.stderr}"
    return ended


_VIEWER = {
    "id": "user",
    "entity": ENTITY,
    "username": ENTITY,
    "name": ENTITY,
    "email": "researcher@example.org",
    "admin": False,
    "flags": "{}",
    "teams": {"edges": [{"node": {"name": ENTITY}}]},
    "apiKeys": {"edges": []},
    "deletedAt": None,
}


def _resume_status(run: StoredRun) -> Json:
    def tail(file: str) -> str:
        return json.dumps(run.lines.get(file, [])[-1:])

    return {
        "id": run.storage_id,
        "name": run.id,
        "summaryMetrics": json.dumps(run.summary),
        "displayName": run.name,
        "logLineCount": len(run.lines.get("output.log", [])),
        "historyLineCount": len(run.lines.get(HISTORY, [])),
        "eventsLineCount": len(run.lines.get("wandb-events.jsonl", [])),
        "historyTail": tail(HISTORY),
        "eventsTail": tail("wandb-events.jsonl"),
        "config": json.dumps(run.stored_config),
        "tags": run.tags,
        "notes": None,
        "wandbConfig": json.dumps({"t": 1}),
    }


def _bucket(run: StoredRun) -> Json:
    project = {"id": "project", "name": run.project, "entity": {"id": "e", "name": run.entity}}
    return {
        "id": run.storage_id,
        "name": run.id,
        "displayName": run.name,
        "description": None,
        "config": json.dumps(run.stored_config),
        "sweepName": run.sweep,
        "project": project,
        "historyLineCount": len(run.lines.get(HISTORY, [])),
    }


def _describe(sweep: StoredSweep) -> Json:
    return {
        "id": sweep.id,
        "name": sweep.id,
        "method": sweep.config["method"],
        "state": "RUNNING" if sweep.waiting else "FINISHED",
        "config": sweep.text,
        "runs": {"edges": []},
    }


def _page_info(edges: list[Json], start: int, total: int) -> Json:
    end = edges[-1]["cursor"] if edges else None
    return {"endCursor": end, "hasNextPage": start + len(edges) < total}


def _matches(run: StoredRun, filters: Json) -> bool:
    """The part of the filter language that the tests use."""
    for key, wanted in filters.items():
        if key == "$and":
            if not all(_matches(run, part) for part in wanted):
                return False
        elif getattr(run, key) != wanted:
            return False
    return True


def _points(content: Json) -> Iterator[Json]:
    """Each point once: all of a grid, or `run_cap` draws of a random search."""
    parameters = dict(_flatten(content["parameters"]))
    if content["method"] == "grid":
        for values in itertools.product(*parameters.values()):
            yield _nest(dict(zip(parameters, values, strict=True)))
        return
    draw = random.Random(0)
    for _ in range(content["run_cap"]):
        yield _nest({path: draw.choice(values) for path, values in parameters.items()})


def _flatten(parameters: Json, prefix: tuple[str, ...] = ()) -> Iterator[tuple[Any, list[Any]]]:
    for name, entry in parameters.items():
        if "parameters" in entry:
            yield from _flatten(entry["parameters"], (*prefix, name))
        else:
            yield (*prefix, name), entry["values"] if "values" in entry else [entry["value"]]


def _nest(point: dict[tuple[str, ...], Any]) -> Json:
    nested: Json = {}
    for path, value in point.items():
        inner = nested
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = value
    return nested


class _Handler(BaseHTTPRequestHandler):
    kept: Server
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.kept.connections.add(self.connection)

    def finish(self) -> None:
        self.kept.connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            return b"".join(iter(self._chunk, b""))
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline().strip(), 16)
        content = self.rfile.read(size)
        self.rfile.readline()
        return content

    def _reply(self, content: bytes, code: int) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self._answer(self._post)

    def do_PUT(self) -> None:
        self._answer(self._put)

    def do_GET(self) -> None:
        self._answer(self._get)

    def _answer(self, act: Callable[[str, bytes], bytes]) -> None:
        body = self._body()
        try:
            content, code = act(unquote(self.path), body), 200
        except Exception:
            self.kept.errors.append(traceback.format_exc())
            content, code = b"{}", 400
        with contextlib.suppress(OSError):
            self._reply(content, code)

    def _post(self, path: str, body: bytes) -> bytes:
        if path == "/graphql":
            given = json.loads(body)
            data = self.kept.answer(given["query"], given.get("variables") or {})
            return json.dumps({"data": data}).encode()
        if path.endswith("/file_stream"):
            return json.dumps(self.kept.stream(path.split("/")[-2], json.loads(body))).encode()
        return b"{}"  # telemetry

    def _put(self, path: str, body: bytes) -> bytes:
        self.kept.store(path.removeprefix("/storage/"), body)
        return b""

    def _get(self, path: str, body: bytes) -> bytes:
        return self.kept.stored(path.removeprefix("/storage/"))
