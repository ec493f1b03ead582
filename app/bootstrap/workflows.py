"""The stored workflows as every process sees them."""

from app.bootstrap.core import Core
from app.workflows.definitions.reading import DefinitionReader
from app.workflows.definitions.repository import VERSIONS, WORKFLOWS, DefinitionRepository
from app.workflows.definitions.service import DefinitionService


def build_definitions(core: Core) -> DefinitionService:
    repository = DefinitionRepository(core.documents(WORKFLOWS), core.documents(VERSIONS), clock=core.clock)
    return DefinitionService(repository, DefinitionReader(repository, core.registry))
