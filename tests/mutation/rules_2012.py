"""The rules of the 2012 API, each broken in the code, with the tests that notice."""

from __future__ import annotations

from tests.mutation.mutants_2012_endings import KEYS_AND_ENDINGS
from tests.mutation.mutants_2012_requests import GENERAL, RESULT_ENCODING
from tests.mutation.mutants_2012_workers import BUYING, RECORDS, WORKERS

MUTANTS = (*GENERAL, *WORKERS, *RECORDS, *BUYING, *KEYS_AND_ENDINGS, *RESULT_ENCODING)
