"""One process of a sweep's run that several train together; started by `sweeps.group` alone."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_lab.cli.parsing import parse_config
from resnet_lab.cli.train import train_illustrated
from resnet_lab.configuration.config import Config
from resnet_lab.errors import RunHeld, UserError
from resnet_lab.rank import is_first_process
from resnet_lab.sweeps.group import HELD, MISTAKE, VARIABLE
from resnet_lab.sweeps.parent_death import end_with
from resnet_lab.sweeps.verdict import TrialJudge

if TYPE_CHECKING:
    from resnet_lab.training.logbook import Judge


def main() -> None:
    """Train the run of the configuration file that is named; only the first process reports."""
    told = json.loads(os.environ[VARIABLE])
    end_with(told["worker"], signal.SIGKILL)
    try:
        config = parse_config(["--config", sys.argv[1]])
        train_illustrated(config, _judge(config, told))
    except UserError as error:
        print(f"{MISTAKE}{error}", file=sys.stderr)
        sys.exit(HELD if isinstance(error, RunHeld) else 2)


def _judge(config: Config, told: dict[str, Any]) -> Judge:
    if not is_first_process():
        return lambda step, scores: False  # never asked: the first process tells the others
    import optuna

    from resnet_lab.sweeps.sampling import pruner
    from resnet_lab.sweeps.storage import open_storage
    from resnet_lab.sweeps.sweep import Hyperband

    halving = Hyperband(**told["halving"]) if told["halving"] else None
    storage = open_storage(told["storage"], Path(told["folder"]), told["heartbeat"])
    study = optuna.load_study(study_name=told["study"], storage=storage, pruner=pruner(halving))
    trial = optuna.Trial(study, told["trial"])
    return TrialJudge(trial, config, told["metric"], halving is not None)


if __name__ == "__main__":
    main()
