"""Tasks with typed input, from the request to the result: the API, a worker's kernel and the simulator over HTTP."""

import asyncio
import json
import re
import shlex
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.main import get_group

from app.agents.base import AgentOutput, AgentRequest, AgentTools, BaseAgent, OutputArtifact
from app.agents.data_analyzer.contract import DataOutput
from app.agents.specs import AgentSpec
from app.agents.text_processor.contract import TextOutput
from app.bootstrap.retention import belongings_of
from app.cli.lazy import loaded
from app.cli.main import app as command_line
from app.cli.task import Submission
from app.cli.task_input import read_input
from app.jobs.retention import EXPIRED_TENANT, ExpiredJob
from app.llm.usage import ModelRole
from app.tasks.artifacts import LARGEST_ARTIFACT, MOST_ARTIFACTS, kept_of
from tests.api.harness import NOBODY, Api, Json, fields_of, problem_of
from tests.api.world import StartWorld, World

SALES = "region,amount\nnorth,10\nsouth,5\nnorth,2.5\n"
ANYTHING = "Work on this."
CHART = {"kind": "bar", "x": "region", "y": "amount"}
GUIDES = Path(__file__).parents[2] / "docs" / "how-to"
KEYS = "key-of-acme-0123456789:acme,key-of-zeta-0123456789:zeta"
ACME, ZETA = {"X-API-Key": "key-of-acme-0123456789"}, {"X-API-Key": "key-of-zeta-0123456789"}


class HoardingAgent(BaseAgent):
    """Puts artifacts and answers as the task says."""

    async def run(self, request: AgentRequest, tools: AgentTools) -> AgentOutput:
        told = json.loads(request.text)
        kept = [
            await tools.artifacts.put(
                told.get("name", f"file-{number}.txt"), b"x" * size + bytes([number]), "text/plain"
            )
            for number, size in enumerate(told["sizes"])
        ]
        invented = [OutputArtifact("never.txt", "text/plain", "0" * 64, 1)] if told.get("invents") else []
        return AgentOutput("Done.", "Done.", data=told.get("data"), artifacts=(*kept, *invented))


HOARDING = AgentSpec(
    name="HoardingAgent",
    agent_type="hoarding",
    description="Keeps files.",
    examples=("Keep this",),
    model_role=ModelRole.PEER,
    factory=f"{__name__}:HoardingAgent",
    routable=False,
)
MISTAKEN = replace(HOARDING, name="MistakenAgent", agent_type="mistaken", output_model=DataOutput)


def blob_of(folder: Path, task: Json) -> Path:
    """Where the one thing is that its agent made."""
    sha256 = task["result"]["artifacts"][0]["sha256"]
    (found,) = (folder / "blobs").rglob(f"{task['task_id']}/**/{sha256}")
    return found


async def download(world: World, task: Json, sha256: str, *, headers: Any = None) -> httpx.Response:
    return await world.api.get(f"/v1/tasks/{task['task_id']}/artifacts/{sha256}", headers=headers)


def blocks_of(guide: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (GUIDES / guide).read_text("utf-8"), re.DOTALL)


def write_files_of(guide: str, folder: Path) -> None:
    (folder / "letter.txt").write_text("Dear Ada, queues wait and workers work. Yours, Grace.", "utf-8")
    for table in blocks_of(guide, "csv"):
        (folder / "sales.csv").write_text(table, "utf-8")


def body_of(command: str) -> Json:
    """What `orchestrate task …` would send."""
    _, _, *arguments = shlex.split(command)
    given = loaded(get_group(command_line).commands["task"]).make_context("task", arguments).params
    return Submission(given["text"], given["agent"], given["session"], read_input(given["given"] or ())).body


@pytest.fixture
async def world(start_world: StartWorld, tmp_path: Path) -> AsyncIterator[World]:
    blobs = str(tmp_path / "blobs")
    async with start_world(HOARDING, MISTAKEN, artifact_store=blobs, api_keys=KEYS, retry_initial_sec=0.02) as started:
        started.api.client.headers.update(ACME)
        yield started


async def test_a_table_is_analysed_without_any_model_call_and_its_chart_can_be_downloaded(world: World) -> None:
    given = {"operation": "group", "csv": SALES, "by": ["region"], "charts": [CHART]}

    task = await world.run(ANYTHING, agent="DataAnalyzerAgent", input=given)

    assert task["status"] == "completed", task["error"]
    assert task["input"] == given
    assert task["cost"]["model_calls"] == 0
    result = task["result"]
    DataOutput.model_validate_json(json.dumps(result["data"]))
    assert [group["key"] for group in result["data"]["groups"]] == [["north"], ["south"]]
    (chart,) = result["artifacts"]
    listed = await world.api.get(f"/v1/tasks/{task['task_id']}/artifacts")
    assert listed.json()["items"][:1] == [chart]
    answer = await download(world, task, chart["sha256"])
    assert answer.status_code == 200
    assert len(answer.content) == chart["size"]
    assert answer.content.startswith(b"<?xml")


async def test_a_download_is_a_file_that_a_browser_neither_runs_nor_guesses_at(world: World) -> None:
    task = await world.run(ANYTHING, agent="DataAnalyzerAgent", input={"csv": SALES, "charts": [CHART]})

    answer = await download(world, task, task["result"]["artifacts"][0]["sha256"])

    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.headers["content-disposition"] == 'attachment; filename="chart-1.svg"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "script" not in answer.headers["content-security-policy"]


async def test_another_tenant_and_another_task_do_not_see_an_artifact(world: World) -> None:
    task = await world.run(ANYTHING, agent="DataAnalyzerAgent", input={"csv": SALES, "charts": [CHART]})
    other = await world.run(ANYTHING, agent="DataAnalyzerAgent", input={"csv": SALES})
    sha256 = task["result"]["artifacts"][0]["sha256"]

    problem_of(await download(world, task, sha256, headers=ZETA), 404, "TASK_NOT_FOUND")
    problem_of(await download(world, other, sha256), 404, "ARTIFACT_NOT_FOUND")
    problem_of(await download(world, task, "0" * 64), 404, "ARTIFACT_NOT_FOUND")
    problem_of(await download(world, task, "chart-1.svg"), 404, "ARTIFACT_NOT_FOUND")
    problem_of(await world.api.get(f"/v1/tasks/{NOBODY}/artifacts"), 404, "TASK_NOT_FOUND")


async def test_bytes_that_were_changed_on_the_disk_are_not_handed_out(world: World, tmp_path: Path) -> None:
    task = await world.run(ANYTHING, agent="DataAnalyzerAgent", input={"csv": SALES, "charts": [CHART]})
    blob = blob_of(tmp_path, task)
    blob.write_bytes(b"<svg onload='alert(1)'/>")

    problem_of(await download(world, task, blob.name), 500, "ARTIFACT_CORRUPT")


async def test_a_deleted_task_takes_its_own_blobs_along_and_leaves_equal_ones_of_others(
    world: World, tmp_path: Path
) -> None:
    doomed, staying = [
        await world.run(ANYTHING, agent="DataAnalyzerAgent", input={"csv": SALES, "charts": [CHART]}) for _ in range(2)
    ]
    task_id, core = doomed["task_id"], world.api.core
    change = {"$set": {"tenant_id": EXPIRED_TENANT, "expired_tenant_id": "acme"}}
    await core.tasks.update_one({"_id": task_id}, change)

    for delete_belongings in belongings_of(core):
        await delete_belongings([ExpiredJob(task_id, "acme")])

    assert {path.parent.parent.name for path in (tmp_path / "blobs").rglob("*") if path.is_file()} == {
        staying["task_id"]
    }
    assert (await download(world, staying, blob_of(tmp_path, staying).name)).status_code == 200


async def test_what_cannot_be_kept_fails_the_task_for_good(world: World) -> None:
    told_and_words: list[tuple[Json, str]] = [
        ({"sizes": [1] * (MOST_ARTIFACTS + 1)}, "one too many"),
        ({"sizes": [LARGEST_ARTIFACT + 1]}, "at most 5242880"),
        ({"sizes": [LARGEST_ARTIFACT - 1] * 5}, "bytes of artifacts"),
        ({"sizes": [1], "name": '../x"\r\n'}, "letters, digits"),
        ({"sizes": [], "invents": True}, "was never put"),
    ]

    tasks = [await world.run(json.dumps(told), agent="HoardingAgent") for told, _ in told_and_words]

    for task, (_, words) in zip(tasks, told_and_words, strict=True):
        assert (task["status"], task["error"]["type"], task["attempt"]) == ("failed", "ARTIFACT_REFUSED", 1)
        assert words in task["error"]["message"]
        assert task["result"] is None


async def test_an_agents_data_must_have_the_shape_that_it_promises(world: World) -> None:
    told = {"sizes": [], "data": {"operation": "profile", "secret": "s3cr3t"}}

    task = await world.run(json.dumps(told), agent="MistakenAgent", retry={"max_attempts": 1})

    assert task["error"]["type"] == "AGENT_OUTPUT_INVALID"
    assert "data.profile.table: Field required" in task["error"]["message"]
    assert "s3cr3t" not in task["error"]["message"]


async def test_input_that_the_named_agent_cannot_take_is_refused_member_by_member(api: Api) -> None:
    given = {
        "operation": "validate",
        "csv": SALES,
        "rules": [{"rule": "range", "column": "amount", "min": "x"}],
        "x": 1,
    }

    answer = await api.execute("Check it.", agent="DataAnalyzerAgent", input=given)

    body = problem_of(answer, 422, "VALIDATION_ERROR")
    assert fields_of(body) == ["input.rules.0.range.min", "input.x"]


async def test_input_is_an_object_within_bounds(api: Api) -> None:
    deep: Json = json.loads('{"a":' * 20 + "1" + "}" * 20)

    hostile: list[Any] = [[], "text", {"a": {"b": 1}, "n\u0000": 1}, deep]
    for given in hostile:
        answer = await api.execute("Check it.", input=given)
        assert fields_of(problem_of(answer, 422, "VALIDATION_ERROR")) == ["input"]


async def test_names_that_mean_something_to_the_store_are_kept_as_they_are(api: Api) -> None:
    given = {"$ref": "x", "$id": 1, "a.b": {"$set": {}}, "": None}

    task_id = await api.submit("Keep it.", input=given)

    assert (await api.read(task_id))["input"] == given


async def test_input_that_only_one_agent_takes_decides_the_routing(world: World) -> None:
    task = await world.run("Have a look at this.", input={"operation": "statistics", "csv": SALES})

    assert task["selected_agent"] == "DataAnalyzerAgent"
    assert task["cost"]["model_calls"] == 0
    assert task["result"]["data"]["columns"][0]["sum"] == 17.5


async def test_a_task_whose_routed_agent_lacks_its_input_fails_at_once_and_says_what_to_hand_in(world: World) -> None:
    task = await world.run("Profile the columns of this table")

    assert (task["status"], task["attempt"]) == ("failed", 1), task
    assert task["error"]["type"] == "AGENT_INPUT_INVALID"
    assert "hand in one table as csv, rows or json_lines" in task["error"]["message"]


async def test_a_routed_agent_that_cannot_take_the_input_is_not_run(world: World) -> None:
    given = {"operation": "group", "csv": SALES, "secret": "s3cr3t"}

    task = await world.run("Group the rows of this table by region", input=given)

    assert (task["selected_agent"], task["status"], task["attempt"]) == ("DataAnalyzerAgent", "failed", 1)
    assert task["error"]["type"] == "AGENT_INPUT_INVALID"
    assert "input.secret" in task["error"]["message"]
    assert "s3cr3t" not in task["error"]["message"]
    assert [run["agent_role"] for run in task["agent_runs"]] == ["router"]


async def test_data_that_means_something_to_the_store_is_kept_as_it_is(world: World) -> None:
    data = {"$ref": "x", "$id": 2**70, "a.b": {"$set": {}}, "": None}

    task = await world.run(json.dumps({"sizes": [], "data": data}), agent="HoardingAgent")

    assert task["result"]["data"] == data


async def test_a_text_task_in_plain_words_ends_with_typed_data(world: World) -> None:
    expected: dict[str, Json] = {
        "Is this comment positive or negative? The room was dirty and the staff was rude.": {
            "sentiment": "negative",
            "quotes": ["The room was dirty and the staff was rude."],
        },
        "Classify this ticket as complaint, request or praise: It is a complaint about noise.": {"label": "complaint"},
        "Translate this sentence into French: Good morning.": {"target_language": "French"},
        "Extract the name and the amount from this invoice: Ada Lovelace, 20 EUR.": {
            "fields": {"name": "Ada Lovelace", "amount": 20}
        },
    }

    tasks = await asyncio.gather(*map(world.run, expected))

    for task, data in zip(tasks, expected.values(), strict=True):
        assert task["selected_agent"] == "TextProcessorAgent"
        assert task["status"] == "completed", task["error"]
        TextOutput.model_validate_json(json.dumps(task["result"]["data"]))
        assert {name: task["result"]["data"][name] for name in data} == data


async def test_a_typed_text_task_asks_the_model_once(world: World) -> None:
    given = {"operation": "summarise", "text": "Queues wait. Workers work. Nobody is lost. So be it.", "max_words": 5}

    task = await world.run("Make it short.", agent="TextProcessorAgent", input=given)

    assert task["result"]["data"] == {
        "operation": "summarise",
        "summary": "Queues wait. Workers work. Nobody",
        "words": 5,
    }
    assert task["cost"]["model_calls"] == 1


def test_a_result_that_an_older_version_stored_has_no_artifacts() -> None:
    task = {"_id": "t1", "tenant_id": "acme"}
    assert kept_of({**task, "result": {"summary": "x", "raw_output": "x"}}) == []
    assert kept_of({**task, "result": None}) == []


@pytest.mark.parametrize(("guide", "examples"), [("analyse-data.md", 3), ("process-text.md", 5)])
async def test_every_example_of_a_guide_works(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guide: str, examples: int
) -> None:
    write_files_of(guide, tmp_path)
    monkeypatch.chdir(tmp_path)
    commands = [
        line for block in blocks_of(guide, "bash") for line in block.splitlines() if "orchestrate task " in line
    ]

    bodies = [*map(json.loads, blocks_of(guide, "json")), *map(body_of, commands)]
    tasks = await asyncio.gather(*(world.run(body.pop("task"), **body) for body in bodies))

    assert len(tasks) == examples
    assert [task["error"] for task in tasks] == [None] * examples
    assert all(task["result"]["data"] for task in tasks)
    assert {task["agent_type"] for task in tasks} == {"data" if guide == "analyse-data.md" else "text"}
