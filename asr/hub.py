"""Folders of models from the Hugging Face Hub, fetched once and kept."""

from collections.abc import Sequence
from pathlib import Path

from echoic.asr.errors import CheckpointError


def download(repository: str, revision: str | None, wanted: Sequence[str], choices: str) -> Path:
    """Return the folder of a repository.

    Args:
        repository: "owner/name".
        revision: branch, tag or commit; None for the main branch.
        wanted: names or patterns of the files to fetch; nothing else is.
        choices: what may be given instead, for the error's message.

    Raises:
        CheckpointError: no such repository, or no network.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(wanted)))
    except HFValidationError as e:
        raise CheckpointError(f"{repository!r} is no Hugging Face id; {choices}") from e
    except (OSError, ValueError, HfHubHTTPError) as e:
        reason = type(e).__name__
        raise CheckpointError(
            f"cannot fetch {repository} from the Hugging Face Hub ({reason}; no network?); "
            f"{choices}"
        ) from e
