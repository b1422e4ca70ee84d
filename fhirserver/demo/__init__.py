"""The demo region: a few establishments, professionals and patients, and the story that is played with them.

Everything is sent through the public API of a running server, by clients that hold keys of their own; nothing here
imports the server, opens its database or knows how it decides. All names, numbers and exams are made up; the images are
those that pydicom ships.
"""

from __future__ import annotations

from fhirserver.demo.build import build
from fhirserver.demo.people import three_commands, who_may_what
from fhirserver.demo.story import story

__all__ = ["build", "story", "three_commands", "who_may_what"]
