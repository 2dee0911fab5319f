"""What is wrong with a mapping's own files, in German, by the names under which people edit them.

A worker reads snapshots, whose folders are named by digests. A reason names the folder that people edit
instead (`hub.job.Rule.homes`). Faults of files are worded in English (`hub.errors.ConfigError`); a reason is
German in every locale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hub.errors import ConfigError, Rejected
from hub.i18n.problems_german import german
from hub.i18n.sentence import Sentence, Words, lines, say
from hub.job import Rule
from hub.message import Reason


def told(problems: Iterable[str], homes: Mapping[str, str]) -> list[Sentence]:
    """The problems as sentences; `homes` names the folder that people edit by its snapshot."""
    return [say("{problem}", problem=Words(german(_at_home(problem, homes)))) for problem in problems]


def unusable(error: ConfigError, rule: Rule) -> Rejected:
    """Why files that the rule names cannot be used: ``mapping`` where they are of the mapping, else
    ``configuration``."""
    snapshots = tuple(filter(None, (rule.package, rule.common, rule.municipality_folder)))
    problems = told(error.problems, homes_of(rule))
    if any(problem.startswith(snapshots) for problem in error.problems):
        return Rejected(Reason.MAPPING, say("Die Abbildung ist nicht brauchbar: {problems}",
                                            problems=lines(problems)), problems)
    return Rejected(Reason.CONFIGURATION, say("Die Prüfung ist nicht eingerichtet: {problems}",
                                              problems=lines(problems)), problems)


def homes_of(rule: Rule) -> dict[str, str]:
    """The folders that people edit, by the snapshots that the rule names."""
    snapshots = {"mapping": rule.package, "common": rule.common, "town": rule.municipality_folder}
    return {snapshot: rule.homes[layer] for layer, snapshot in snapshots.items()
            if snapshot and layer in rule.homes}


def _at_home(problem: str, homes: Mapping[str, str]) -> str:
    for snapshot, home in homes.items():
        problem = problem.replace(snapshot, home)
    return problem
