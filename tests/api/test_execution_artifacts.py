"""What steps keep, over HTTP and at the command line: listed, downloaded checked, and nobody else's."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from app.agents.base import AgentOutput, AgentRequest, AgentTools, BaseAgent
from app.agents.registry import Registry
from app.agents.specs import BUILT_IN, AgentSpec
from app.bootstrap.executions import build_execution_artifacts
from app.llm.usage import ModelRole
from app.workflows.executions.artifact_routes import StepArtifactsResponse
from app.workflows.executions.artifacts import ExecutionArtifacts
from app.workflows.executions.repository import ExecutionRepository
from app.workflows.executions.values import ValueStore, values_place_of
from tests.api.hands import Hands
from tests.api.harness import NOBODY, conforms, problem_of
from tests.api.test_cli_commands import Terminal
from tests.api.world import World, started_world, world_settings
from tests.processes import Server

WORKFLOW = """
version: 1
name: keeping
inputs: {text: {type: string, default: hello}}
steps:
  note:
    agent: EchoAgent
    with: {task: "${{ inputs.text }}"}
    output: {raw_output: {type: string}}
    artifacts: {words: "${{ steps.note.output.raw_output }}"}
  draw: {needs: [note], agent: DrawingAgent, with: {task: a house}}
  rest: {needs: [draw], agent: EchoAgent, with: {task: nothing}}
"""
WORDS, HOUSE = b'"hello"', b"<svg>a house</svg>"


class DrawingAgent(BaseAgent):
    drawn: ClassVar[bytes] = HOUSE

    async def run(self, _request: AgentRequest, tools: AgentTools) -> AgentOutput:
        picture = await tools.artifacts.put("house.svg", self.drawn, "image/svg+xml")
        return AgentOutput("Drawn.", "Drawn.", artifacts=(picture,))


DRAWING = AgentSpec(
    name="DrawingAgent",
    agent_type="drawing",
    description="Draws.",
    examples=("Draw a house",),
    model_role=ModelRole.PEER,
    factory=f"{__name__}:DrawingAgent",
    routable=False,
)


@pytest.fixture
async def world(store: Server, redis_url: str, simulator: Server) -> AsyncIterator[World]:
    settings = world_settings(store, redis_url, simulator)
    registry = Registry((*BUILT_IN, DRAWING))
    async with started_world(settings, simulator, registry=registry, over_socket=True) as started:
        yield started


@pytest.fixture
async def kept(world: World) -> str:
    """The path of the artifacts of an execution that has ended."""
    execution = await Hands(world.api, [world.worker]).run(WORKFLOW, {"text": "hello"})
    assert execution.status == "completed", execution.document["fault"]
    return f"/v1/executions/{execution.id}/artifacts"


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def blob_of(world: World, execution_id: str, data: bytes) -> Path:
    (found,) = Path(world.api.core.settings.artifact_location).rglob(f"{execution_id}/**/{digest_of(data)}")
    return found


async def find(world: World, sha256: str) -> Any:
    return await build_execution_artifacts(world.api.core).find("default", sha256)


async def test_what_steps_and_their_agents_keep_is_listed_in_order(world: World, kept: str) -> None:
    answer = (await world.api.get(kept)).json()

    conforms(StepArtifactsResponse, answer)
    told = [(one["path"], one["name"], one["media_type"], one["sha256"], one["size"]) for one in answer["items"]]
    assert told[:2] == [
        ("note", "words", "application/json", digest_of(WORDS), len(WORDS)),
        ("draw", "house.svg", "image/svg+xml", digest_of(HOUSE), len(HOUSE)),
    ]
    evidence = [(one["path"], one["name"], one["kind"], one["attempt"]) for one in answer["items"][2:]]
    assert evidence == [(path, "execution-1.json.gz", "execution", 1) for path in ("note", "draw", "rest")]
    for one in answer["items"]:
        assert digest_of((await world.api.get(f"{kept}/{one['sha256']}")).content) == one["sha256"]
        assert (await find(world, one["sha256"])).kind == one["kind"]
    assert await find(world, "0" * 64) is None
    assert answer["next_after"] is None


async def test_long_lists_come_in_parts(world: World, kept: str) -> None:
    core, execution_id = world.api.core, kept.split("/")[3]
    repository = ExecutionRepository(core.executions.documents, core.steps.documents)
    artifacts = ExecutionArtifacts(repository, ValueStore(core.artifacts), core.artifacts, steps_at_once=1)

    paths: list[set[str]] = []
    after: int | None = 0
    while after is not None:
        page, after = await artifacts.list_page("default", execution_id, after=after)
        paths.append({one.path for one in page})
    _, pieces = await artifacts.open("default", execution_id, digest_of(HOUSE))

    assert paths == [{"note"}, {"draw"}, {"rest"}, set()]
    assert [piece async for piece in pieces] == [HOUSE]


async def test_each_is_downloaded_as_a_file_that_cannot_act(world: World, kept: str) -> None:
    answer = await world.api.get(f"{kept}/{digest_of(HOUSE)}")

    assert answer.content == HOUSE
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.headers["content-length"] == str(len(HOUSE))
    assert answer.headers["content-disposition"] == 'attachment; filename="house.svg"'
    assert "sandbox" in answer.headers["content-security-policy"]
    assert (await world.api.get(f"{kept}/{digest_of(WORDS)}")).content == WORDS


async def test_what_is_not_kept_or_was_changed_is_not_handed_out(world: World, kept: str) -> None:
    execution_id = kept.split("/")[3]
    place = values_place_of("default", execution_id)
    stranger = await world.api.core.artifacts.put(place, b"nobody keeps this", "text/plain")
    blob_of(world, execution_id, WORDS).write_bytes(b'"HELLO"')

    problem_of(await world.api.get(f"{kept}/{digest_of(WORDS)}"), 500, "ARTIFACT_CORRUPT")
    for wanted in (stranger.sha256, "0" * 64, "nothing", "..%2F..%2Fetc"):
        assert (await world.api.get(f"{kept}/{wanted}")).status_code == 404
    for path in ("", f"/{digest_of(WORDS)}", f"/{digest_of(WORDS)}/link"):
        answer = await world.api.get(f"/v1/executions/{NOBODY}/artifacts{path}")
        problem_of(answer, 404, "EXECUTION_NOT_FOUND")


async def test_a_disk_signs_no_links(world: World, kept: str) -> None:
    answer = await world.api.get(f"{kept}/{digest_of(HOUSE)}/link")

    problem = problem_of(answer, 409, "ARTIFACT_LINKS_NOT_SUPPORTED")
    assert "download it" in problem["detail"]


async def test_the_command_lists_and_saves_them(world: World, kept: str, tmp_path: Path) -> None:
    terminal: Any = Terminal(world.api)
    execution_id = kept.split("/")[3]

    listed = await terminal.prints("executions", "artifacts", execution_id)
    await terminal.prints("executions", "artifacts", execution_id, "--save", str(tmp_path / "kept"))

    evidence = [f"{path}.execution-1.json.gz" for path in ("note", "draw", "rest")]
    assert [line.split()[0] for line in listed.splitlines()] == ["words", "house.svg", *evidence]
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == sorted(["words", "house.svg", *evidence])
    assert (tmp_path / "kept" / "house.svg").read_bytes() == HOUSE
