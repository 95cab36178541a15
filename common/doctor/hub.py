"""Whether the hub answers, and whether a preset's model is here or there; asked for seconds at most."""

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, HFValidationError, RepositoryNotFoundError

from common.console import first_line
from common.doctor.findings import Finding
from common.guards.network import TIMEOUT, within
from common.workers.plan import hub_files

ASKED = "openai-community/gpt2"  # where no model is asked for
SHARDED = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


class Hub:
    """The hub as it answers now; it is asked once about each repository, and not again after it did not answer."""

    def __init__(self) -> None:
        self.silent = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else None  # why it does not answer
        self.answers: dict[str, str | None] = {}

    def ask(self, repository: str) -> str | None:
        """What is wrong with a repository; None where it can be had."""
        if self.silent is None and repository not in self.answers:
            try:
                within(TIMEOUT, lambda: get_hf_file_metadata(hf_hub_url(repository, "config.json"), timeout=TIMEOUT))
                self.answers[repository] = None
            except GatedRepoError:
                self.answers[repository] = "is gated: accept its terms on its page, and `hf auth login`"
            except (RepositoryNotFoundError, HFValidationError):
                self.answers[repository] = "is not on the hub, or private: `hf auth login`"
            except EntryNotFoundError:
                self.answers[repository] = "has no config.json"
            except Exception as error:  # whatever its client raises, of proxies and certificates too
                self.silent = f"{constants.ENDPOINT} does not answer ({first_line(error)})"
        return self.silent or self.answers[repository]

    def finding(self) -> Finding:
        """A line on whether it answers at all."""
        if not self.ask(ASKED):
            return Finding("hub", f"{constants.ENDPOINT} answers")
        how = "models come from the cache or from folders (docs/notebooks.md)"
        return Finding("hub", self.silent or f"{ASKED} {self.answers[ASKED]}", how)


def is_cached(repository: str) -> bool:
    """Whether the hub's cache here has its weights."""
    try:
        found = [try_to_load_from_cache(repository, name) for name in SHARDED]
    except HFValidationError:  # no name of the hub
        return False
    return bool(hub_files(repository)) or any(isinstance(path, str) for path in found)
