"""One rank of a sweep's multi-process run; started only by `sweeps.ranks`."""

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
from resnet_lab.sweeps.parent_death import end_with
from resnet_lab.sweeps.ranks import HELD, MISTAKE, VARIABLE

if TYPE_CHECKING:
    from resnet_lab.training.logger import Judge


def main() -> None:
    """Train the run of the given configuration file; only rank 0 reports."""
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
        return lambda step, scores: False  # never called: rank 0 tells the others
    import optuna

    from resnet_lab.sweeps.pruning import TrialJudge, pruner
    from resnet_lab.sweeps.storage import open_storage
    from resnet_lab.sweeps.sweep import Hyperband

    halving = Hyperband(**told["halving"]) if told["halving"] else None
    storage = open_storage(told["storage"], Path(told["folder"]))
    study = optuna.load_study(study_name=told["study"], storage=storage, pruner=pruner(halving))
    study_id = storage.get_study_id_from_name(told["study"])
    trial = storage.get_trial_id_from_study_id_trial_number(study_id, told["trial"])
    return TrialJudge(optuna.Trial(study, trial), config, told["metric"], halving is not None)


if __name__ == "__main__":
    main()
