from app.agents.schemas import AgentListResponse, AgentResponse
from app.agents.specs import BUILT_IN
from tests.api.conftest import StartApi
from tests.api.harness import Api, conforms, problem_of


async def test_every_agent_is_listed_with_what_it_takes_and_gives(api: Api) -> None:
    response = await api.get("/v1/agents")

    conforms(AgentListResponse, response.json())
    items = {item["name"]: item for item in response.json()["items"]}
    assert list(items) == [spec.name for spec in BUILT_IN]
    assert items["EchoAgent"]["cost_class"] == "free"
    assert items["EchoAgent"]["routable"] is False
    assert {item["origin"] for item in items.values()} == {"built-in"}


async def test_one_agent_is_shown_with_its_schemas(api: Api) -> None:
    response = await api.get("/v1/agents/EchoAgent")

    conforms(AgentResponse, response.json())
    assert response.json()["examples"] == ["ping"]
    assert (response.json()["input_schema"], response.json()["output_schema"]) == (None, None)


async def test_an_agent_that_is_not_there_is_not_found(api: Api) -> None:
    body = problem_of(await api.get("/v1/agents/NopeAgent"), 404, "AGENT_NOT_FOUND")

    assert "ContentAgent" in body["detail"]


async def test_the_tools_that_the_deployment_allows_are_shown_and_no_others(start_api: StartApi) -> None:
    notes = {
        "url": "http://127.0.0.1:9/mcp",
        "headers": {"Authorization": "Bearer a-secret-token"},
        "allow": {"CodeAgent": ["lookup"]},
    }

    async with start_api(mcp_servers={"notes": notes}) as api:
        code = await api.get("/v1/agents/CodeAgent")
        content = await api.get("/v1/agents/ContentAgent")

    assert code.json()["tools"] == ["mcp.notes.lookup"]
    assert content.json()["tools"] == []
    assert "a-secret-token" not in code.text


async def test_agents_need_a_key_like_everything_else(start_api: StartApi) -> None:
    async with start_api(api_keys="a-good-key:acme:viewer") as api:
        refused = await api.get("/v1/agents")
        listed = await api.get("/v1/agents", headers={"X-API-Key": "a-good-key"})

    problem_of(refused, 401, "UNAUTHENTICATED")
    assert listed.status_code == 200
