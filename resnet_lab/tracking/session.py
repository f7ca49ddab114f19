"""The W&B client: quiet, without prompts, and unable to stop training by an error."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from resnet_lab.errors import UserError
from resnet_lab.files import replacing, user_path
from resnet_lab.tracking.history import Row

if TYPE_CHECKING:
    import wandb

FINISH_SECONDS = 120.0
"""Longest wait for uploads at the end of a run; WANDB_FINISH_TIMEOUT overrides it."""
LONGEST_TAG = 64
"""Most characters of a tag, which the client checks when a run begins."""
FOLDER = "run_directory"
"""Folder of the run directory's files in its W&B run."""

Mode = Literal["online", "offline", "disabled"]
LOGIN = "run `wandb login`, or set WANDB_API_KEY"
WAY_OUT = (
    f"{LOGIN}; WANDB_MODE=offline keeps everything on this machine, and --tracking none trains "
    "without W&B"
)


def connect() -> Mode:
    """Read W&B's mode and check that it works, before anything is trained.

    Returns:
        The mode in WANDB_MODE (or by `wandb offline`, `wandb disabled`). "online" has been tested.

    Raises:
        UserError: wandb is not installed, nobody is logged in, or the server does not answer.
    """
    mode = _quiet_client()[1].mode
    if mode in ("offline", "dryrun"):
        return "offline"
    if mode == "disabled":
        return "disabled"
    log_in(WAY_OUT)
    return "online"


def log_in(way_out: str = LOGIN) -> None:
    """Check the login at the server, without a prompt.

    Args:
        way_out: advice for the message if the login fails.

    Raises:
        UserError: wandb is not installed, nobody is logged in, or the server does not answer.
    """
    wandb, _ = _quiet_client()
    try:
        known = wandb.run is not None or wandb.login(prompt=False, verify=True)
    except wandb.Error as error:
        raise UserError(f"W&B cannot be reached or refuses: {error}; {way_out}") from error
    if not known:
        raise UserError(f"nobody is logged in to W&B: {way_out}")


def check_accepted(*, project: str, tags: Sequence[str]) -> None:
    """Raise UserError for a project or tag that the client would refuse when a run begins.

    Offline, the run begins only after training.
    """
    for tag in tags:
        if not 1 <= len(tag) <= LONGEST_TAG:
            raise UserError(
                f"wandb.tags has '{tag}', of {len(tag)} characters: W&B takes tags of 1 to "
                f"{LONGEST_TAG} characters"
            )
    wandb = _client()
    try:
        wandb.Settings(project=project)
    except (wandb.Error, ValueError) as error:
        raise UserError(f"wandb.project is '{project}', which W&B refuses: {error}") from error


def _client() -> Any:
    try:
        import wandb
    except ImportError as error:
        raise UserError(
            "wandb is not installed: `pip install wandb`; --tracking none trains without it"
        ) from error
    try:
        user_path("~")
    except UserError as error:
        raise UserError(
            "W&B keeps its settings in the home directory, and none is known: set HOME; "
            "--tracking none trains without it"
        ) from error
    return wandb


def _quiet_client() -> tuple[Any, Any]:
    """The client, made silent, and its settings on this machine."""
    wandb = _client()
    return wandb, wandb.setup(settings=wandb.Settings(show_info=False)).settings


def remove_offline(run_id: str, keep: Collection[str] = ()) -> None:
    """Delete earlier offline folders of a run whose rows are sent again.

    Args:
        run_id: of the W&B run.
        keep: names of folders to keep; synced folders are always kept.
    """
    place = Path(_client().setup().settings.wandb_dir)
    for folder in [*place.glob(f"offline-run-*-{run_id}"), *place.glob(f"*-{run_id}-[0-9]*")]:
        if folder.name not in keep and not list(folder.glob("*.synced")):
            shutil.rmtree(folder, ignore_errors=True)


class Session:
    """One W&B run while it is written to.

    Attributes:
        last: the session that this process began last, if any.
        over: whether its end has been reported.
        next_step: the first step that may still be sent: rows are sent once, by rising step.
    """

    last: ClassVar[Session | None] = None

    def __init__(self, run: wandb.Run) -> None:
        Session.last = self
        self.over = False
        self.next_step = max(run.starting_step, run.step)
        self._run = run
        self._lists: set[str] = set()

    @classmethod
    def open(
        cls,
        config: Mapping[str, Any],
        *,
        place: Mapping[str, Any] | None = None,
        stop: Callable[[], None] | None = None,
        **about: Any,
    ) -> Session:
        """Begin a W&B run, or resume it at the step that the server has.

        Args:
            config: nested plain values.
            place: id, project and entity; by default those of a sweep's agent.
            stop: called, in another thread, when a user stops the run in W&B.
            about: name, group, tags, job_type.

        Raises:
            UserError: the server does not answer, or refuses.
        """
        wandb = _client()
        try:
            run = wandb.init(
                config=dict(config),
                resume="allow",
                reinit="create_new",
                settings=_settings(stop),
                **(place or {}),
                **about,
            )
        except (wandb.Error, ValueError) as error:
            raise UserError(f"W&B did not begin the run: {error}; {WAY_OUT}") from error
        return cls(run)

    @property
    def url(self) -> str | None:
        """URL of the run's page; None offline."""
        return self._run.url

    @property
    def place(self) -> dict[str, str | None]:
        """Entity (None offline, where it is unknown), project and url."""
        run = self._run
        return {"entity": run.entity or None, "project": run.project, "url": run.url}

    @property
    def folder(self) -> Path:
        """The client's folder of the run on this machine."""
        return Path(self._run.dir).parent

    def send(self, rows: Iterable[Row]) -> None:
        """Queue rows, except those of steps that W&B already has."""
        for row in rows:
            step = row["_step"]
            if step < self.next_step:
                continue
            lists = {key for key, value in row.items() if isinstance(value, list)}
            for key in lists - self._lists:  # to keep lists out of the summary
                self._run.define_metric(key.replace(".", r"\."), summary="none")
            self._lists |= lists
            self._run.log({k: v for k, v in row.items() if k != "_step"}, step, commit=True)
            self.next_step = step + 1

    def upload(self, paths: Sequence[Path]) -> None:
        """Upload the current versions of files."""
        folder = Path(self._run.dir) / FOLDER
        folder.mkdir(exist_ok=True)
        for path in paths:
            copy = folder / path.name
            with replacing(copy) as temporary:
                temporary.write_bytes(path.read_bytes())
            self._run.save(str(copy), base_path=self._run.dir, policy="now")

    def summarise(self, values: Mapping[str, Any]) -> None:
        """Set values of the summary."""
        self._run.summary.update(dict(values))

    def withdraw(self, keys: Iterable[str]) -> None:
        """Remove values from the summary, where W&B keeps the history's last ones."""
        summary: Any = self._run.summary
        for key in set(summary.keys()).intersection(keys):
            del summary[key]

    def give_back(self) -> None:
        """Ask the server to queue the run for the sweep's agents again once it has failed.

        W&B calls this preemption: the machine fails, not the run.
        """
        self._run.mark_preempting()

    def tag(self, tags: Sequence[str]) -> None:
        """Give the run these tags and no others."""
        self._run.tags = tuple(tags)

    def finish(self, *, exit_code: int) -> bool:
        """Send what is left; return whether all of it arrived in time."""
        self.over = True
        try:
            self._run.finish(exit_code=exit_code)
        except TimeoutError:
            return False
        return True


def _settings(stop: Callable[[], None] | None) -> Any:
    """Client settings: no code, git state or console output; WANDB_... variables override them."""
    chosen: dict[str, Any] = {
        "console": "off",
        "disable_code": True,
        "disable_git": True,
        "finish_timeout": FINISH_SECONDS,
    }
    free = {k: v for k, v in chosen.items() if f"WANDB_{k.upper()}" not in os.environ}
    return _client().Settings(**free, finish_timeout_raises=True, stop_fn=stop)


def images(files: Mapping[str, Path]) -> Row:
    """Picture files as values of a row."""
    wandb = _client()
    return {key: wandb.Image(str(path)) for key, path in files.items()}


def say(message: str) -> None:
    """Print a message to standard error."""
    print(f"W&B: {message}", file=sys.stderr, flush=True)


def warn(message: str) -> None:
    """Warn of data missing in W&B; the run directory still has them."""
    warnings.warn(
        f"W&B: {message}. The run directory is complete; the same command sends what is missing",
        stacklevel=3,
    )
