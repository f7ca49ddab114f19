"""The page itself: runs, verdicts and figures put into the template, everything escaped."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis.claims import Verdict
from analysis.figures import Drawing
from analysis.figures.style import FORMATS
from analysis.paper import load_paper
from analysis.tables import for_reading, results_table, tuned_for_reading
from analysis.tuning import split_tunings
from analysis.tuning_answer import answer
from resnet_lab.runs.frames import Runs

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Exhibit:
    """A figure as the page shows it: `source` is a data URI, `files` lie beside the page."""

    title: str
    caption: str
    source: str
    files: dict[str, str]


@dataclass(frozen=True)
class Section:
    """What one group of alike runs, or one tuning, has to show; `answer` is a tuning's."""

    protocol: str
    results: pd.DataFrame
    exhibits: list[Exhibit]
    answer: str = ""


def render(
    runs: Runs,
    verdicts: Sequence[Verdict],
    drawings: Sequence[Drawing],
    images: Mapping[str, bytes],
) -> str:
    """Return the page as HTML; `images` holds each drawing's SVG by its name."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["unbroken"] = unbroken
    return environment.get_template("page.html").render(
        css=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        summary=summary(runs),
        verdicts=verdicts,
        several=len({verdict.protocol for verdict in verdicts if verdict.protocol}) > 1,
        sections=[*tuned(runs, drawings, images), *sections(runs, drawings, images)],
        provenance=provenance(runs),
        unfinished=unfinished(runs),
        skipped=runs.skipped,
        sources=load_paper().sources,
    )


def unbroken(text: str) -> str:
    """Keep a number and its percent sign on one line."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def summary(runs: Runs) -> str:
    """Return one sentence on what was run."""
    members = runs.runs
    if members.empty:
        return "There are no runs here."
    counted = {
        "run": members["run"].nunique(),
        "trained network": len(members),
        "seed": members["seed"].nunique(),
    }
    texts = [f"{count} {name}{'' if count == 1 else 's'}" for name, count in counted.items()]
    data = ", ".join(sorted(members["data"].astype(str).unique()))
    hours = _wall_seconds(members) / 3600
    spent = f"{hours:.1f} hours" if hours >= 1 else f"{hours * 60:.1f} minutes"
    return f"{', '.join(texts)} on {data}; {spent} of training in all."


def _wall_seconds(members: pd.DataFrame) -> float:
    """Return the training time of all runs; members of one run share its time."""
    return float(members.drop_duplicates("run")["wall_seconds"].sum())


def sections(runs: Runs, drawings: Sequence[Drawing], images: Mapping[str, bytes]) -> list[Section]:
    """Return the results and figures, group after group."""
    results = results_table(runs)
    if results.empty:
        return []
    return [
        Section(
            protocol=str(protocol),
            results=for_reading(rows),
            exhibits=[
                _exhibit(one, images[one.name]) for one in drawings if one.protocol == protocol
            ],
        )
        for protocol, rows in results.groupby("protocol", sort=False)
    ]


def tuned(runs: Runs, drawings: Sequence[Drawing], images: Mapping[str, bytes]) -> list[Section]:
    """Return the results and figure of each tuning; none where no learning rate was tuned."""
    return [
        Section(
            protocol=one.label,
            results=tuned_for_reading(one),
            exhibits=[
                _exhibit(each, images[each.name]) for each in drawings if each.protocol == one.label
            ],
            answer=answer(one),
        )
        for one in split_tunings(runs)
    ]


def _exhibit(drawing: Drawing, image: bytes) -> Exhibit:
    encoded = base64.b64encode(image).decode("ascii")
    files = {suffix.upper(): f"figures/{drawing.name}.{suffix}" for suffix in FORMATS}
    return Exhibit(drawing.title, drawing.caption, f"data:image/svg+xml;base64,{encoded}", files)


def provenance(runs: Runs) -> pd.DataFrame:
    """Return one row a machine and version: runs, their wall time and speed."""
    members = runs.runs.drop_duplicates("run") if len(runs.runs) else runs.runs
    wanted = ("device", "processor", "torch", "lightning", "python", "resnet_lab", "git")
    origin = [name for name in wanted if name in members]
    if members.empty or not origin:
        return pd.DataFrame()
    texts = members.assign(**{name: members[name].fillna("-").astype(str) for name in origin})
    rows = [
        {
            **dict(zip(origin, key, strict=True)),
            "runs": str(len(part)),
            "wall time, s": f"{part['wall_seconds'].sum():.0f}",
            "images a second": _range(part["images_per_second"]),
        }
        for key, part in texts.groupby(origin, sort=False)
    ]
    return pd.DataFrame(rows)


def _range(values: pd.Series[float]) -> str:
    known = values.dropna()
    if known.empty:
        return "-"
    low, high = f"{known.min():,.0f}", f"{known.max():,.0f}"
    return low if low == high else f"{low} to {high}"


def unfinished(runs: Runs) -> list[str]:
    """Name the members that did not train to the end."""
    members = runs.runs
    if members.empty:
        return []
    missing = members[members["status"] != "finished"]
    return [
        f"{row['network']}, seed {row['seed']}, {row['name']}: {row['status']}"
        + (f" at step {int(row['diverged_at'])}" if pd.notna(row["diverged_at"]) else "")
        for _, row in missing.iterrows()
    ]
