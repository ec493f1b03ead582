"""Evidence as every process keeps it: without the secrets that the settings name."""

from app.artifacts.evidence import EvidenceStore
from app.bootstrap.core import Core
from app.observability.redaction import Redactor, secrets_of
from app.replay.tape import masked_data


def build_evidence(core: Core) -> EvidenceStore:
    masked = Redactor(secrets_of(core.settings)).masked
    return EvidenceStore(core.artifacts, lambda data: masked_data(data, masked))
