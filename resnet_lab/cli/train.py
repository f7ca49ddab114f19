"""resnet-lab train"""

from __future__ import annotations

from collections.abc import Sequence

from resnet_lab.cli.parsing import parse_config


def run(arguments: Sequence[str]) -> int:
    """Train one run; 1 if it was interrupted."""
    config = parse_config(arguments)
    from resnet_lab.runs.directory import RunDirectory, read_info
    from resnet_lab.runs.summary import summary_lines

    if RunDirectory.of(config).is_finished():
        print("already finished; the same run is not trained twice")
    from resnet_lab.training.processes import is_first_process
    from resnet_lab.training.train import train

    path = train(config)
    if not is_first_process():
        return 0
    info = read_info(path)
    print("\n".join(summary_lines(info)))
    print(path)
    if info["status"] == "finished":
        return 0
    print(f"interrupted at step {info['step']}: the same command continues it")
    return 1
