#!/usr/bin/env bash
# Sweep workers on several machines, where jobs are started by torchrun rather than by SLURM.
#
#   export RESNET_LAB_STORAGE=postgresql://USER@HOST/DATABASE    # the password is in ~/.pgpass
#   MACHINES=2 HEAD=node1 GPUS=0,1,2,3 docs/cluster/torchrun.sh sweeps/fair_tuning.yaml
#
# Start it on every machine, in the repository's root. torchrun starts one command a machine, which
# deals the machine's GPUs out to its workers. A sweep ends with 1 where a run has failed; torchrun
# would then stop the other machines, so the code is told and not handed on.
set -euo pipefail

: "${RESNET_LAB_STORAGE:?set it to postgresql://USER@HOST/DATABASE, without a password}"
file="${1:?give a sweep file, such as sweeps/fair_tuning.yaml}"
gpus="${GPUS:-0,1,2,3}"
commas="${gpus//[^,]/}"
export SWEEP_FILE="$file" SWEEP_RUNS="${RUNS_DIR:-$PWD/runs}" # on a file system that all share
export SWEEP_GPUS="$gpus" SWEEP_WORKERS="$((${#commas} + 1))"

exec torchrun \
    --nnodes "${MACHINES:-2}" --nproc-per-node 1 \
    --rdzv-backend c10d --rdzv-endpoint "${HEAD:-localhost}:29400" --rdzv-id resnet-lab \
    --no-python bash -c '
        resnet-lab sweep "$SWEEP_FILE" --runs-dir "$SWEEP_RUNS" \
            --workers "$SWEEP_WORKERS" --devices "$SWEEP_GPUS" || echo "the sweep ended with $?"'
