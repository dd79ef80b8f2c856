"""The paper venue, by the conformance suite; what is its own is tested in paper/."""

import pytest

from tests.unit.test_providers.conformance import VenueConformance
from tests.venues import PaperVenue


@pytest.fixture
def venue(paper: PaperVenue) -> PaperVenue:
    """The venue that the suite runs on."""
    return paper


class TestPaperConforms(VenueConformance):
    """The suite, on paper."""
