"""Who is who in the demo region, and what each may do: what `fhirserver serve --demo` prints."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

from rich import box
from rich.table import Table

_PEOPLE: Final = (
    ("Practitioner/durand", "tilleuls", "Dr Camille Durand, general practitioner",
     "follows Martin, Roussel, Fournier, Girard (restricted report apart), Haas; blocked by Lambert"),
    ("Practitioner/kieffer", "sainte-odile", "Dr Inès Kieffer, radiologist", "treats whom she examined these 90 days"),
    ("Practitioner/weber", "imagerie-vosges", "Dr Hugo Weber, radiologist",
     "treats Fournier, Haas and Kuntz; was given one exam by Roussel"),
    ("Practitioner/muller", "rangen", "Dr Paul Muller, nuclear medicine",
     "treats Roussel, El Amrani and Girard; a stranger to everybody else"),
    ("Practitioner/schmitt", "sainte-odile", "Dr Léa Schmitt, emergency physician", "follows Lambert and Hoffmann"),
    ("Practitioner/klein", "sainte-odile", "Marie Klein, nurse", "is declared by nobody: sees nobody"),
    ("Practitioner/roth", "imagerie-vosges", "Jean Roth, radiographer", "is declared by Kuntz"),
    ("Practitioner/petit", "mutuelle", "Dr Alain Petit, physician of an insurer", "never sees anything"),
    ("Patient/martin", None, "Jeanne Martin", "sees her exams, and who looked at them"),
    ("Patient/benali", None, "Karim Benali", "refused sharing: his exams are hidden, new ones stay out"),
    ("Patient/lambert", None, "Sophie Lambert", "blocked Dr Durand, though she follows the practice she works in"),
    ("Patient/roussel", None, "Antoine Roussel", "gave his MR to Dr Weber"),
    ("RelatedPerson/claire-hoffmann", None, "Claire Hoffmann", "mother of Lucas (a minor): sees his record"),
    ("RelatedPerson/thomas-hoffmann", None, "Thomas Hoffmann", "father of Lucas: sees his record"),
)  # fmt: skip


def who_may_what() -> Table:
    """The people of the region: whom to name with `--as`, and beside it who they are and what they may do.

    What is there to be copied stands on lines of its own, so that a narrow terminal does not break it.
    """
    table = Table("--as", "who, and what they may do", title="People of the demo region", box=box.SIMPLE_HEAD)
    table.columns[0].no_wrap = True
    for reference, establishment, name, rights in _PEOPLE:
        acts_for = [f"--organization Organization/{establishment}"] if establishment else []
        table.add_row(reference, "\n".join((name, *acts_for, rights)), end_section=True)
    return table


def three_commands(base: str, data: Path) -> tuple[str, str, str]:
    """Three things to try: a declared doctor, a stranger, and the patient who sees who looked."""
    program = _program()

    def ask(who: str, path: str) -> str:
        token = f"$({program} token --data {data} --as {who})"
        return f'curl -s -H "Authorization: Bearer {token}" "{base.rstrip("/")}/fhir/{path}"'

    exams = "ImagingStudy?patient=Patient/martin&_sort=-started&_total=accurate&_pretty=true"
    return (
        ask("Practitioner/durand --organization Organization/tilleuls", exams),
        ask("Practitioner/muller --organization Organization/rangen", exams),
        ask("Patient/martin", "AuditEvent?patient=Patient/martin&_sort=-date&_pretty=true"),
    )


def _program() -> str:
    """How this installation is called from a shell."""
    if shutil.which("fhirserver"):
        return "fhirserver"
    beside = Path(sys.executable).with_name("fhirserver")
    return str(beside) if beside.exists() else f"{sys.executable} -m fhirserver"
