"""The cluster that a benchmark runs on: made from the binaries that NEON_BIN names, gone afterwards."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fixtures.common import PortDistributor, give_to_postgres_account
from fixtures.neon_fixtures import NeonEnv, NeonEnvBuilder
from fixtures.pg import PgBin


@contextmanager
def benchmark_env(output: Path, **options: Any) -> Iterator[NeonEnv]:
    """A running cluster below `output`, which is emptied first; `options` are the builder's."""
    logging.basicConfig(level=logging.WARNING)
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    output.chmod(0o755)
    distrib = Path(os.environ["POSTGRES_DISTRIB_DIR"])
    builder = NeonEnvBuilder(
        output, Path(os.environ["NEON_BIN"]), distrib, PgBin(distrib, 15), PortDistributor(), **options
    )
    give_to_postgres_account(output)
    try:
        yield builder.init_start()
    finally:
        builder.cleanup(keep_data=False)
