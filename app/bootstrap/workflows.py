"""The stored workflows as every process sees them."""

from app.bootstrap.core import Core
from app.workflows.definitions.reading import DefinitionReader
from app.workflows.definitions.repository import VERSIONS, WORKFLOWS, DefinitionRepository
from app.workflows.definitions.service import DefinitionService


def build_definitions(core: Core) -> DefinitionService:
    return DefinitionService(build_definition_repository(core), build_reader(core))


def build_reader(core: Core) -> DefinitionReader:
    return DefinitionReader(build_definition_repository(core), core.registry)


def build_definition_repository(core: Core) -> DefinitionRepository:
    return DefinitionRepository(core.documents(WORKFLOWS), core.documents(VERSIONS), clock=core.clock)
