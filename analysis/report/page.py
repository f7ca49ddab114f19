"""The report's page: runs, verdicts and figures rendered by the template, all escaped."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis.answer import answer
from analysis.claims import Verdict
from analysis.claims.claim import Outcome
from analysis.claims.dose import split_doses
from analysis.factorial_answer import answer as factorial_answer
from analysis.factorial_design import apart_from_factorials, split_factorials
from analysis.factorial_tables import beside as beside_factorial
from analysis.factorial_tables import cells_for_reading
from analysis.figures import ANSWER, ANSWER_NARROW, Drawing
from analysis.figures.style import FORMATS
from analysis.pairs import pairs_for_reading, pairs_table
from analysis.paper import load_paper
from analysis.remedies import remedies_answer, remedies_for_reading, split_remedies
from analysis.report.explorer import explorer
from analysis.report.scripts import packed, scripts
from analysis.scoreboard import scoreboard
from analysis.search import Search, apart_from_searches
from analysis.search_text import answer as search_answer
from analysis.search_text import by_network_for_reading, ranking_for_reading
from analysis.tables import (
    SHOWN_TRIALS,
    doses_for_reading,
    for_reading,
    results_table,
    scoreboard_for_reading,
    trials_for_reading,
    tuned_for_reading,
)
from analysis.tuning import split_tunings
from analysis.tuning_answer import answer as tuning_answer
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
    """The page's section on one group of alike runs, one factorial, comparison of
    remedies, tuning or search.

    `answer` is the result of a factorial, tuning or search in words. `remark` follows the results'
    title. `beside` holds further tables by their titles.
    """

    protocol: str
    results: pd.DataFrame
    exhibits: list[Exhibit]
    answer: str = ""
    remark: str = ""
    beside: Mapping[str, pd.DataFrame] = field(default_factory=dict)


def render(
    runs: Runs,
    verdicts: Sequence[Verdict],
    drawings: Sequence[Drawing],
    images: Mapping[str, bytes],
    searches: Sequence[Search] = (),
) -> str:
    """Return the page as HTML; `images` holds each drawing's SVG by its name.

    Runs of `searches` are shown as trials, not as groups of their own.
    """
    apart = apart_from_searches(runs) if searches else runs
    found = answer(runs)
    heroes = {
        one.name: _exhibit(one, images[one.name])
        for one in drawings
        if one.name in (ANSWER, ANSWER_NARROW)
    }
    drawings = [one for one in drawings if one.name not in heroes]
    shown = [
        *dosed(runs, drawings, images),
        *crossed(apart, drawings, images),
        *remedied(apart),
        *tuned(apart, drawings, images),
        *searched(searches, drawings, images),
        *sections(apart, drawings, images),
    ]
    layers = explorer(runs)
    tested_first = sorted(verdicts, key=lambda one: one.verdict == "not tested")
    cards = [(f"verdict-{number}", one) for number, one in enumerate(tested_first, start=1)]
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["unbroken"] = unbroken
    return environment.get_template("page.html").render(
        css=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        summary=summary(runs),
        cards=cards,
        answer=found,
        hero=heroes.get(ANSWER),
        narrow=heroes.get(ANSWER_NARROW),
        twins=Markup((HERE / "twins.svg").read_text(encoding="utf-8")),
        chips=chips(cards),
        pairs=paired(runs),
        several=len({verdict.protocol for verdict in verdicts if verdict.protocol}) > 1,
        sections=shown,
        several_sections=len(shown) > 1,
        explorer=layers,
        explorer_data=packed(layers.data) if layers else "",
        scripts=scripts(layers),
        board=board(runs),
        facts=facts(runs),
        left_out=left_out(apart),
        provenance=provenance(runs),
        unfinished=unfinished(apart),
        skipped=runs.skipped,
        sources=load_paper().sources,
    )


def unbroken(text: str) -> str:
    """Keep a number and its percent sign on one line, and n with its value."""
    space = "\N{NO-BREAK SPACE}"
    return text.replace(" %", f"{space}%").replace("n = ", f"n{space}={space}")


@dataclass(frozen=True)
class Chip:
    """A claim on the first screen, in the colour of its commonest `outcome`.

    `text` gives the outcome, or counts of outcomes where several groups of runs were judged;
    `anchor` is that of its first card.
    """

    title: str
    outcome: Outcome
    text: str
    anchor: str


def chips(cards: Sequence[tuple[str, Verdict]]) -> list[Chip]:
    """Return a chip for each claim that was tested, in the order of the cards."""
    tested = [card for card in cards if card[1].verdict != "not tested"]
    titles = dict.fromkeys(verdict.title for _, verdict in tested)
    return [_chip(title, [card for card in tested if card[1].title == title]) for title in titles]


def _chip(title: str, cards: Sequence[tuple[str, Verdict]]) -> Chip:
    counts = Counter(verdict.verdict for _, verdict in cards).most_common()
    several = len(cards) > 1
    texts = [f"{outcome} {count}" if several else outcome for outcome, count in counts]
    return Chip(title, counts[0][0], ", ".join(texts), cards[0][0])


def paired(runs: Runs) -> list[tuple[str, pd.DataFrame]]:
    """Return each group's pairs as a table under its protocol; none where there is no pair."""
    table = pairs_table(runs)
    return [
        (str(protocol), pairs_for_reading(rows))
        for protocol, rows in table.groupby("protocol", sort=False)
    ]


def summary(runs: Runs) -> str:
    """Return one sentence that summarises the runs."""
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


def facts(runs: Runs) -> dict[str, str]:
    """Return hardware, versions, time and speed of the runs; empty without runs."""
    members = runs.runs.drop_duplicates("run") if len(runs.runs) else runs.runs
    wanted = {
        "device": "device",
        "processor": "processor",
        "torch": "PyTorch",
        "lightning": "Lightning",
        "git": "code",
    }
    found = {
        title: ", ".join(sorted(members[name].dropna().astype(str).unique()))
        for name, title in wanted.items()
        if name in members
    }
    if not members.empty:
        found["wall time"] = f"{_wall_seconds(members):,.0f} s"
        found["images a second"] = _range(members["images_per_second"])
    return {title: text for title, text in found.items() if text}


@dataclass(frozen=True)
class Board:
    """The scoreboard as the page shows it: cells with runs, those without, and their count."""

    run: pd.DataFrame
    unrun: pd.DataFrame
    total: int


def board(runs: Runs) -> Board | None:
    """Return the scoreboard of runs; None without runs."""
    if runs.runs.empty:
        return None
    cells = scoreboard(runs)
    beside = cells["verdict"] != "not run"
    return Board(
        run=scoreboard_for_reading(cells[beside]),
        unrun=scoreboard_for_reading(cells[~beside]),
        total=len(cells),
    )


def left_out(runs: Runs) -> str:
    """Return the numbers of unfinished members and of skipped entries, in words."""
    counts = {
        "trained network did not finish": len(unfinished(runs)),
        "entry was skipped": len(runs.skipped),
    }
    plural = {
        "trained network did not finish": "trained networks did not finish",
        "entry was skipped": "entries were skipped",
    }
    texts = [
        f"{count} {text if count == 1 else plural[text]}" for text, count in counts.items() if count
    ]
    return f"{' and '.join(texts)}; the rest is used." if texts else ""


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
            exhibits=_exhibits(str(protocol), drawings, images),
        )
        for protocol, rows in results.groupby("protocol", sort=False)
    ]


def dosed(runs: Runs, drawings: Sequence[Drawing], images: Mapping[str, bytes]) -> list[Section]:
    """Return the results and figure of each dose-response."""
    return [
        Section(
            protocol=one.label,
            results=doses_for_reading(one),
            exhibits=_exhibits(one.label, drawings, images),
        )
        for one in split_doses(runs)
    ]


def crossed(runs: Runs, drawings: Sequence[Drawing], images: Mapping[str, bytes]) -> list[Section]:
    """Return the cells, effects, judgements and figures of each factorial."""
    return [
        Section(
            protocol=one.label,
            results=cells_for_reading(one),
            exhibits=_exhibits(one.label, drawings, images),
            answer=factorial_answer(one),
            remark=", cell by cell",
            beside=beside_factorial(one),
        )
        for one in split_factorials(runs)
    ]


def remedied(runs: Runs) -> list[Section]:
    """Return the table of each comparison of remedies."""
    return [
        Section(
            protocol=one.label,
            results=remedies_for_reading(one),
            exhibits=[],
            answer=remedies_answer(one),
            remark=", at equal budget",
        )
        for one in split_remedies(runs)
    ]


def tuned(runs: Runs, drawings: Sequence[Drawing], images: Mapping[str, bytes]) -> list[Section]:
    """Return the results and figure of each tuning; none where no learning rate was tuned."""
    return [
        Section(
            protocol=one.label,
            results=tuned_for_reading(one),
            exhibits=_exhibits(one.label, drawings, images),
            answer=tuning_answer(one),
            remark=", each network at its best rate",
        )
        for one in split_tunings(apart_from_factorials(runs))
    ]


def searched(
    searches: Sequence[Search], drawings: Sequence[Drawing], images: Mapping[str, bytes]
) -> list[Section]:
    """Return the best trials and the figure of each search."""
    return [
        Section(
            protocol=one.label,
            results=trials_for_reading(one),
            exhibits=_exhibits(one.label, drawings, images),
            answer=search_answer(one),
            remark=f", the best {SHOWN_TRIALS} trials" if len(one.finished) > SHOWN_TRIALS else "",
            beside=_beside(one),
        )
        for one in searches
    ]


def _beside(search: Search) -> dict[str, pd.DataFrame]:
    """Return further tables of a search: each network's best, and confirmed trials."""
    found = {}
    if len(search.networks) > 1:
        found["Best of each network"] = by_network_for_reading(search)
    if not search.ranking.empty:
        found["Confirmed with fresh seeds"] = ranking_for_reading(search)
    return found


def _exhibits(
    protocol: str, drawings: Sequence[Drawing], images: Mapping[str, bytes]
) -> list[Exhibit]:
    """Return the figures on the runs of one protocol."""
    return [_exhibit(one, images[one.name]) for one in drawings if one.protocol == protocol]


def _exhibit(drawing: Drawing, image: bytes) -> Exhibit:
    encoded = base64.b64encode(image).decode("ascii")
    files = {suffix.upper(): f"figures/{drawing.name}.{suffix}" for suffix in FORMATS}
    return Exhibit(drawing.title, drawing.caption, f"data:image/svg+xml;base64,{encoded}", files)


def provenance(runs: Runs) -> pd.DataFrame:
    """Return one row a machine and version: runs, their wall time and speed."""
    members = runs.runs.drop_duplicates("run") if len(runs.runs) else runs.runs
    wanted = ("device", "processor", "system", "torch", "lightning", "python", "resnet_lab", "git")
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
