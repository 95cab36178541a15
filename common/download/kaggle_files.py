"""Files of a Kaggle competition, by the kaggle package where it is installed and has a key."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from common.console import first_line
from common.guards.surroundings import explain


def fetch(competition: str, names: Sequence[str], folder: Path) -> str | None:
    """Bring the files, some of them as <name>.zip, into `folder`. What stands in the way, None: nothing did."""
    try:
        from kaggle.api.kaggle_api_extended import KaggleApi

        api = KaggleApi()
        api.authenticate()
    except ImportError:
        return "the kaggle package, which would fetch it, is not installed"
    except (OSError, ValueError, SystemExit):  # by its version; importing it logs in, too
        return "the kaggle package, which would fetch it, has no key (https://www.kaggle.com/settings)"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".kaggle") as temporary:
        try:
            for name in names:
                api.competition_download_file(competition, name, path=temporary, quiet=False)
        except Exception as error:  # requests', urllib3's or its own, by its version
            if explain(error):  # a full disk, say
                raise
            return f"the kaggle package says: {first_line(error)}"
        for path in Path(temporary).iterdir():
            os.replace(path, folder / path.name)
    return None
