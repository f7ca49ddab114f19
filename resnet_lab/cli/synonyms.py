"""Names of flags, values and commands in other programs, and their names here.

Words are in lower case with underscores, without the dashes of a flag.
"""

from __future__ import annotations

NAMES: dict[str, str] = {
    "recipe.lr": "learning_rate learningrate base_lr init_lr initial_lr max_lr peak_lr lr0",
    "recipe.iterations": "steps step max_steps num_steps n_steps total_steps train_steps iters "
    "max_iters num_iters n_iters iteration num_iterations n_iterations max_iterations max_iter "
    "updates iter niter train_iters total_iters num_train_steps",
    "recipe.batch_size": "batch bs b batchsize train_batch_size minibatch mini_batch bsz "
    "global_batch_size per_device_train_batch_size images_per_batch",
    "recipe.weight_decay": "wd decay l2 weightdecay weight_decay_rate",
    "recipe.nesterov": "use_nesterov",
    "recipe.drops": "milestones lr_milestones lr_steps lr_drops lr_decay_steps lr_boundaries",
    "recipe.drop_factor": "gamma lr_gamma lr_factor lr_decay_factor lr_decay_rate",
    "recipe.warmup_steps": "warmup warmup_iters warmup_iterations num_warmup_steps lr_warmup "
    "lr_warmup_steps",
    "recipe.clip": "grad_clip clip_grad clip_grad_norm max_grad_norm gradient_clip_val "
    "gradient_clip gradient_clipping clip_norm grad_norm max_norm",
    "recipe.precision": "dtype",
    "recipe.evaluate_every": "eval_every eval_interval eval_steps eval_freq val_every val_freq "
    "val_interval val_check_interval validate_every validation_interval",
    "recipe.log_every": "log_interval log_steps log_freq log_frequency log_every_n_steps "
    "logging_steps print_freq print_every",
    "recipe.plateau_patience": "patience",
    "recipe.compile": "torch_compile",
    "recording.enabled": "record recording",
    "recording.every": "record_every record_interval",
    "trainer.device": "accelerator dev",
    "trainer.nodes": "num_nodes nnodes n_nodes",
    "trainer.progress": "progress_bar enable_progress_bar",
    "trainer.checkpoint_steps": "save_every save_steps save_interval save_freq checkpoint_every "
    "checkpoint_interval checkpoint_freq ckpt_every",
    "data.name": "data dataset data_set dataset_name data_name",
    "data.workers": "num_workers n_workers workers loader_workers nworkers j jobs",
    "data.augment": "aug augmentation augmentations data_augmentation",
    "data.normalise": "normalize normalization normalisation norm_kind",
    "data.validation_size": "val_size valid_size num_val n_val",
    "data-dir": "root data_path data_root data_folder datadir dataset_dir dataset_path datasets "
    "imagenet_dir image_dir images data_directory",
    "runs-dir": "o out output outdir output_dir out_dir outputs logdir log_dir logs save_dir "
    "savedir save_path save save_to workdir work_dir output_path run_dir runs results results_dir "
    "default_root_dir checkpoint_dir ckpt_dir dir folder",
    "study": "group run_group exp experiment exp_name experiment_name study_name",
    "network": "arch architecture model model_name net backbone networks models nets network_name "
    "archs architectures",
    "config": "cfg conf config_file c yaml config_path file",
    "seed": "random_seed rng_seed manual_seed global_seed torch_seed random_state",
    "tracking": "tracker report_to",
    "wandb.project": "wandb_project project_name",
    "wandb.entity": "wandb_entity team username",
    "print_config": "show_config dump_config printconfig",
    # of the other commands
    "RUNS_DIR": "runs_dir runs input input_dir folder dir run_dir path logdir log_dir results r",
    "WEIGHTS": "weights checkpoint ckpt ckpt_path checkpoint_path resume pretrained load file path "
    "weights_path model_path",
    "NAME": "network networks net nets model models arch architecture name names data dataset",
    "FILE": "file sweep sweep_file yaml study_file",
    "out": "output outdir output_dir out_dir o save_dir save dest report_dir",
    "data": "dataset data_name data_set dataset_name",
    "normalise": "normalize normalization normalisation",
    "test-view": "view crop crops tta",
    "batch-size": "batch bs b batchsize eval_batch_size test_batch_size",
    "device": "accelerator dev",
    "num-classes": "classes n_classes nclasses class num_class",
    "in-channels": "channels in_chans input_channels num_channels",
    "image-size": "img_size input_size resolution size imgsz imsize",
    "workers": "n_workers num_workers jobs n_jobs j parallel processes agents num_agents nworkers",
    "devices": "gpus gpu device cuda gpu_ids visible_devices",
    "count": "run_cap max_runs num_runs n_runs trials n_trials num_trials limit max_trials",
    "retries": "retry max_retries",
    "storage": "db database storage_url",
    "dry-run": "dry plan print print_config list",
    "smoke": "test debug fast_dev_run smoke_test quick",
}
"""Name of a flag, or of a positional argument (in capitals), here -> elsewhere."""

EPOCHS = (
    "the recipe counts iterations, not epochs: --recipe.iterations N, with N = epochs x training "
    "images / batch size"
)
OPTIMIZER = (
    "it is --recipe.optimizer sgd, adamw or lars; settings are --recipe.lr, --recipe.momentum "
    "(AdamW's beta1), --recipe.nesterov, --recipe.weight_decay, --recipe.beta2, --recipe.eps and "
    "--recipe.trust_coefficient"
)
SAME = "no flag is needed: the same command continues an interrupted run"
SEEDS = (
    "one run has one seed, --seed N; for several give a sweep file the parameter "
    "seed: {values: [0, 1, 2]} and call `resnet-lab sweep FILE`"
)
IN_THE_NAME = (
    "it is a part of a network's name, such as plain-20, resnet-56-B or resnet-110-preact-x0.5: "
    "--network NAME (`resnet-lab networks` lists names)"
)
DRY = "--print_config prints the configuration and trains nothing"

EPOCH_WORDS = (
    "epoch epochs max_epochs num_epochs n_epochs nepochs num_train_epochs train_epochs "
    "total_epochs ep e warmup_epochs epochs_per_run max_epoch num_epoch n_epoch nb_epochs"
)
RESUME_WORDS = (
    "resume resume_from resume_from_checkpoint continue continue_from ckpt ckpt_path checkpoint "
    "checkpoint_path load load_from restart restore auto_resume autoresume resume_path resume_run"
)
SEED_WORDS = "seeds n_seeds num_seeds nseeds repeats repeat replicates repetitions n_repeats"
PRINTED = "printed, and goes to a file by  > FILE"

EXPLANATIONS: dict[str, dict[str, str]] = {
    "train": {
        EPOCH_WORDS: EPOCHS,
        "optimizer optimiser optim opt solver adam adamw sgd rmsprop betas beta1 beta2 eps lars "
        "lamb": OPTIMIZER,
        "scheduler lr_scheduler lr_schedule schedule schedule_type cosine step_size lr_policy "
        "sched lr_decay_epochs": "the learning rate drops at fixed steps: --recipe.drops '[N, N]', "
        "by --recipe.drop_factor, after a warm-up of --recipe.warmup_steps",
        RESUME_WORDS: SAME,
        "overwrite force restart_from_scratch fresh": "a finished run is not trained twice: move "
        "its directory away to train it anew, or take another --study",
        "pretrained weights init_from finetune fine_tune load_weights pretrain init_weights "
        "pretrained_path": "every network is trained from its own initial values; "
        "`resnet-lab evaluate` measures the test error of given weights",
        "eval evaluate evaluate_only eval_only test_only test validate predict inference": "the "
        "test error is measured at the end of every training; `resnet-lab evaluate` measures it of "
        "given weights, and --data.test false leaves test images unread",
        "name run_name run_id id version n": "a run is named by what it is: networks, data, seed; "
        "--study NAME is the folder that keeps runs of one question together",
        "notes note comment comments description": "a run has no notes; tags go to W&B by "
        "--wandb.tags '[a, b]'",
        SEED_WORDS: SEEDS,
        "depth depths layers num_layers n_layers nlayers blocks num_blocks width widen_factor "
        "width_multiplier shortcut shortcuts shortcut_type skip residual plain bottleneck block "
        "preact preactivation norm batchnorm groupnorm stem option init family": IN_THE_NAME,
        "num_classes classes n_classes nclasses in_channels channels image_size img_size "
        "input_size": "it follows from the data: --data.name NAME",
        "amp fp16 half float16 bf16 bfloat16 mixed_precision use_amp autocast fp32 float32": "the "
        "arithmetic is set by --recipe.precision: float32, bfloat16 or auto; there is no float16",
        "wandb use_wandb log_wandb with_wandb enable_wandb track wandb_mode wandb_log": "runs are "
        "mirrored to W&B by --tracking wandb",
        "logger loggers tensorboard tb csv mlflow neptune comet": "every run writes its rows to "
        "its own directory; W&B is the one tracker, --tracking wandb",
        "gpus gpu ngpus n_gpu n_gpus num_gpus num_gpu num_devices n_devices nproc_per_node "
        "world_size gpu_id gpu_ids": "--trainer.devices N trains on N GPUs; the variable "
        "CUDA_VISIBLE_DEVICES says on which",
        "cuda cpu mps no_cuda use_cuda use_gpu": "choose the device by --trainer.device, such as "
        "--trainer.device cpu",
        "strategy ddp distributed multi_gpu": "--trainer.devices N trains in N processes",
        "quiet silent no_progress q verbose v": "--trainer.progress false hides the progress bar",
        "dry_run dryrun dry plan print": DRY,
        "debug fast_dev_run smoke smoke_test": "a short trial is --recipe.iterations 10 "
        "--recipe.drops '[]'",
        "recipe": "its keys are given one by one, such as --recipe.lr 0.1; recipes in files are "
        "given by --config, such as --config experiments/digits.yaml",
        "trainer": "its keys are given one by one, such as --trainer.device cpu",
        "count engine storage retries": "it belongs to `resnet-lab sweep`, which trains many runs",
        "early_stopping early_stop": "every run trains for all its iterations; a search stops runs "
        "early by early_terminate in its sweep file",
    },
    "sweep": {
        SEED_WORDS: "seeds are a parameter of the sweep file: seed: {values: [0, 1, 2]}",
        RESUME_WORDS: SAME,
        "wandb use_wandb": "--engine wandb lets W&B hand out the runs; to mirror them there, end "
        "the command by  -- --tracking wandb",
        "config cfg": "FILE, the sweep file, is given without a flag; a configuration for every "
        "run stands after a lone --, as in  -- --config FILE",
        "method metric parameters early_terminate project": "it is a key of the sweep file",
        "name": "--study NAME is the folder of its runs",
        "out output output_dir out_dir results results_dir logdir log_dir save_dir run_dir": "runs "
        "go to a folder below --runs-dir",
    },
    "report": {
        "json csv format table tables": "the report's folder has its tables as files; "
        "`resnet-lab claims RUNS_DIR --json` prints the verdicts",
        "data_dir data": "a report reads runs alone, no data",
    },
    "claims": {
        "out output o save output_dir csv format table file html": f"what it finds is {PRINTED}; "
        "--json prints it for a program; `resnet-lab report RUNS_DIR` writes a page",
    },
    "doctor": {
        "out output o save output_dir csv format file html": f"what it finds is {PRINTED}; --json "
        "prints it for a program",
        "data dataset network": "it looks at runs, given as RUNS_DIR, or else at this machine",
    },
    "evaluate": {
        "config cfg": "WEIGHTS, --network and --data say it all",
        "out output o save csv format file": f"the result is {PRINTED}; --json has all digits",
        "seed": "nothing is drawn by chance here",
        "epochs epoch lr iterations": "nothing is trained here: `resnet-lab train` does",
    },
    "networks": {
        "data data_name dataset": "sizes follow from --num-classes, --in-channels and --image-size",
        "depth depths layers width shortcut norm block": "it is a part of the name, such as "
        "plain-20 or resnet-56-B-x0.5",
        "list all": "without a name all of the paper's networks are listed",
    },
    "data": {
        "out output output_dir out_dir dir root path folder dest save_dir": "data sets are kept "
        "in --data-dir",
        "action prepare verify download check": "what is to be done comes first, without a flag: "
        "resnet-lab data prepare NAME",
    },
}
"""Command -> words -> advice, where no single flag does the same."""

COMMAND_NAMES = {
    "train": "run fit start resume continue learn training trainer",
    "sweep": "search tune study agent hpo grid optimize optimise",
    "report": "plot plots figures figure visualize visualise draw html page",
    "claims": "verdicts verdict stats statistics hypotheses hypothesis scoreboard compare",
    "doctor": "diagnose diagnosis check explain why info env system",
    "evaluate": "eval test validate predict score inference",
    "networks": "list models model architectures nets arch show summary params",
    "data prepare": "download prepare fetch get dataset datasets",
    "data verify": "verify",
    "--help": "help",
    "--version": "version v",
}
"""Command -> its names elsewhere."""

VALUE_NAMES = {
    "bfloat16": "bf16 bf16_mixed bf16_true bfloat",
    "float32": "fp32 32 32_true float single full f32",
    "cuda": "gpu gpus nvidia",
    "centre": "center center_crop centre_crop",
    "ten-crop": "10_crop tencrop 10crop",
    "pixel-mean": "mean pixel_mean pixelmean",
    "wandb": "true yes on weights_and_biases w&b wb",
    "local": "optuna",
    "prepare": "download fetch get make",
    "verify": "check test validate",
}
"""Value -> its names elsewhere."""


def named(word: str, entries: dict[str, str]) -> list[str]:
    """Return the names here of what is called `word` elsewhere, in order."""
    return [here for here, there in entries.items() if plain(word) in there.split()]


def explanation(word: str, command: str) -> str | None:
    """Return advice on `word` given to a command; None if there is none."""
    told = EXPLANATIONS.get(command, {})
    return next((text for there, text in told.items() if plain(word) in there.split()), None)


def plain(word: str) -> str:
    """Return a word in the spelling of the lists here."""
    return word.lower().lstrip("-").replace("-", "_")
